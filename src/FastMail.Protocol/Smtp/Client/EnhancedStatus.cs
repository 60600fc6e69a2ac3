using System.Globalization;

namespace FastMail.Protocol.Smtp.Client;

/// <summary>
/// <c>status-code = class "." subject "." detail</c> (RFC 3463 2), such as 5.1.1. Immutable value; any thread.
/// </summary>
public readonly record struct EnhancedStatus(byte Class, ushort Subject, ushort Detail)
{
    /// <summary>Octets of the longest one.</summary>
    public const int MaxBytes = 9;

    /// <summary>
    /// Reads one at the start of a reply's text, where a blank or the end follows it. False when there is none, or its
    /// class is not that of the reply.
    /// </summary>
    /// <param name="text">What follows the code and its blank.</param>
    /// <param name="code">The reply code.</param>
    /// <param name="status">What it says.</param>
    public static bool TryParse(ReadOnlySpan<byte> text, int code, out EnhancedStatus status)
    {
        status = default;
        if (text.Length < 5 || text[1] != '.' || text[0] != '0' + (code / 100) || text[0] is not ((byte)'2' or (byte)'4' or (byte)'5'))
        {
            return false;
        }
        var end = text.IndexOf((byte)' ');
        var rest = (end < 0 ? text : text[..end])[2..];
        var dot = rest.IndexOf((byte)'.');
        if (dot is < 1 or > 3 || rest.Length - dot - 1 is < 1 or > 3
            || !StrictDecimal.TryParse(rest[..dot], out var subject)
            || !StrictDecimal.TryParse(rest[(dot + 1)..], out var detail))
        {
            return false;
        }
        status = new EnhancedStatus((byte)(text[0] - '0'), (ushort)subject, (ushort)detail);
        return true;
    }

    /// <summary>What stands for a reply that names none: x.0.0 (RFC 3463 3.1).</summary>
    public static EnhancedStatus Of(int code) => new((byte)(code / 100), 0, 0);

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Class}.{Subject}.{Detail}");

    /// <summary>As text into at least <see cref="MaxBytes"/> octets; returns its length.</summary>
    public int Write(Span<byte> destination)
    {
        var writer = new ReplyWriter(destination);
        writer.WriteNumber(Class);
        writer.Write((byte)'.');
        writer.WriteNumber(Subject);
        writer.Write((byte)'.');
        writer.WriteNumber(Detail);
        return writer.Written;
    }
}
