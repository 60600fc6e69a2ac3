using System.Buffers;
using System.Text;
using System.Text.RegularExpressions;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// Paths of MAIL and RCPT against the grammar of RFC 5321 4.1.2 and RFC 6531 3.3 written down once more, as patterns.
/// What is taken can be written out and is taken again.
/// </summary>
internal sealed partial class AddressTarget() : FuzzTarget(
    "address",
    "<a@b.test>", "<\"a b\"@b.test>", "<\"a\\\\\"b\"@b.test>", "<@one.test,@two.test:a@b.test>", "<>", "<postmaster>",
    "<Postmaster@b.test>", "a@[192.0.2.1]", "[IPv6:2001:db8::1]", "@", ".", "..", "-", "_", "\"", "\\\\", "\\\\\"",
    "<", ">",
    ":", ",", "\xC3\xA9", "\xC3", "\xE3\x80\x82", "\xEF\xBC\x8E", "\xEF\xBD\xA1", "\xED\xA0\x80", "\xC0\xAE", "xn--",
    "a", "Z9",
    "!#$%&'*+-/=?^_`{|}~", "{{64*a}}", "{{63*b}}", "{{62*c}}.", "{{31*d.}}", "\0", "\x7F", "\t", " ", "a.b", "b.test")
{
    public override int QuickRuns => 20_000;

    protected override int LongestInput => 700;

    public override string Run(byte[] input)
    {
        var status = SmtpPath.Parse(input, out var path, out var consumed);
        var isDone = status == OperationStatus.Done;
        var expected = Expect(input);
        var found = isDone ? new Found(consumed, path.Mailbox.ToArray(), path.AtSign, path.IsAscii) : null;
        Promise(found == expected, $"found {found}, the grammar says {expected}");
        Promise(isDone || status == OperationStatus.InvalidData, $"{status}");
        if (!isDone)
        {
            return "";
        }

        // Behind the path may stand anything; without it the path is the same.
        Promise(Parse([.. "<"u8, .. path.Mailbox, .. ">"u8]) || consumed > 250, "the mailbox alone is not taken");
        if (path.AtSign > 0)
        {
            Promise(Mailbox.IsValid(path.Mailbox), "a path's mailbox is no mailbox");
        }
        return $"{path.AtSign < 0} {path.IsAscii} {path.Mailbox.StartsWith("\""u8)} {path.Mailbox.EndsWith("]"u8)} "
            + $"{consumed - path.Mailbox.Length > 2} {path.Mailbox.Length / 32}";
    }

    private static bool Parse(byte[] text) =>
        SmtpPath.Parse(text, out _, out var consumed) == OperationStatus.Done && consumed == text.Length;

    private static Found? Expect(byte[] input)
    {
        var text = Encoding.Latin1.GetString(input);
        if (text.StartsWith("<>", StringComparison.Ordinal))
        {
            return new Found(2, [], -1, true);
        }
        if (text.StartsWith("<postmaster>", StringComparison.OrdinalIgnoreCase))
        {
            return new Found(12, input[1..11], -1, true);
        }
        var match = Path().Match(text);
        if (!match.Success || match.Length > 256)
        {
            return null;
        }
        var (local, domain) = (match.Groups["local"].Value, match.Groups["domain"].Value);
        var names = match.Groups["route"].Captures.Select(c => c.Value).Append(domain);
        var isTaken = local.Length <= 64
            && names.All(n => n.Length <= 255 && (n[0] == '[' ? LiteralTarget.IsLiteral(n) : IsDomain(n)))
            && IsUtf8(match.Value);
        var mailbox = match.Groups["mailbox"];
        var range = mailbox.Index..(mailbox.Index + mailbox.Length);
        return isTaken ? new Found(match.Length, input[range], local.Length, IsAscii(match.Value)) : null;
    }

    private static bool IsDomain(string name) =>
        Array.TrueForAll(name.Split('.'), label => label.Length is > 0 and <= 63 && label[0] != '-' && label[^1] != '-')
        && !name.Contains("\xE3\x80\x82", StringComparison.Ordinal)
        && !name.Contains("\xEF\xBC\x8E", StringComparison.Ordinal)
        && !name.Contains("\xEF\xBD\xA1", StringComparison.Ordinal);

    private static bool IsAscii(string text) => text.All(char.IsAscii);

    private static bool IsUtf8(string latin1)
    {
        try
        {
            _ = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(Encoding.Latin1.GetBytes(latin1));
            return true;
        }
        catch (DecoderFallbackException)
        {
            return false;
        }
    }

    private sealed record Found(int Consumed, byte[] Mailbox, int AtSign, bool IsAscii)
    {
        public bool Equals(Found? other) => other is not null && ToString() == other.ToString();

        public override int GetHashCode() => Consumed;

        public override string ToString() => $"{Consumed}: {Corpus.Text(Mailbox)} at {AtSign}, ASCII: {IsAscii}";
    }

    private const string DomainText = @"[A-Za-z0-9.\x80-\xff-]+";

    [GeneratedRegex(
        @"^<((@(?<route>" + DomainText + @"))(,@(?<route>" + DomainText + @"))*:)?"
        + @"(?<mailbox>(?<local>[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+)*"
        + @"|""([ !#-\[\]-~\x80-\xff]|\\[ -~])*"")@(?<domain>" + DomainText + @"|\[[^\]]*\]))>",
        RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Path();
}

/// <summary>The envelope's addresses.</summary>
public sealed class AddressFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new AddressTarget();
}
