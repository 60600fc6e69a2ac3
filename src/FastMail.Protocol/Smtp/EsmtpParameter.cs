using System.Text.Unicode;

namespace FastMail.Protocol.Smtp;

/// <summary>
/// <c>esmtp-param = esmtp-keyword ["=" esmtp-value]</c> of RFC 5321 4.1.2: a view that dies with the call.
/// </summary>
internal readonly ref struct EsmtpParameter
{
    private readonly ReadOnlySpan<byte> _keyword;

    private EsmtpParameter(ReadOnlySpan<byte> keyword, ReadOnlySpan<byte> value, bool hasValue)
    {
        _keyword = keyword;
        Value = value;
        HasValue = hasValue;
    }

    public ReadOnlySpan<byte> Value { get; }

    public bool HasValue { get; }

    public bool Is(ReadOnlySpan<byte> keyword) => AsciiWord.Is(_keyword, keyword);

    /// <summary>Takes <c>SP esmtp-param</c> from the front of the text.</summary>
    /// <param name="text">What is left of the line.</param>
    /// <param name="takesUtf8">A value may hold UTF-8 (RFC 6531 3.3).</param>
    /// <param name="parameter">What it said.</param>
    public static bool TryTake(scoped ref ReadOnlySpan<byte> text, bool takesUtf8, out EsmtpParameter parameter)
    {
        parameter = default;
        if (text[0] != ' ')
        {
            return false;
        }
        text = text[1..];
        var end = text.IndexOf((byte)' ');
        var whole = end < 0 ? text : text[..end];
        text = end < 0 ? default : text[end..];

        var equals = whole.IndexOf((byte)'=');
        var keyword = equals < 0 ? whole : whole[..equals];
        var value = equals < 0 ? default : whole[(equals + 1)..];
        parameter = new EsmtpParameter(keyword, value, equals >= 0);
        return IsKeyword(keyword) && (equals < 0 || IsValue(value, takesUtf8));
    }

    /// <summary><c>(ALPHA / DIGIT) *(ALPHA / DIGIT / "-")</c></summary>
    private static bool IsKeyword(ReadOnlySpan<byte> keyword)
    {
        if (keyword.IsEmpty || keyword[0] == '-')
        {
            return false;
        }
        foreach (var octet in keyword)
        {
            if (!AsciiWord.IsLetterOrDigit(octet) && octet != '-')
            {
                return false;
            }
        }
        return true;
    }

    /// <summary><c>1*(%d33-60 / %d62-126)</c></summary>
    private static bool IsValue(ReadOnlySpan<byte> value, bool takesUtf8)
    {
        if (value.IsEmpty || value.Contains((byte)'='))
        {
            return false;
        }
        if (value.IndexOfAnyExceptInRange((byte)33, (byte)126) < 0)
        {
            return true;
        }
        return takesUtf8 && !value.ContainsAnyInRange((byte)0, (byte)32) && !value.Contains((byte)127)
            && Utf8.IsValid(value);
    }
}
