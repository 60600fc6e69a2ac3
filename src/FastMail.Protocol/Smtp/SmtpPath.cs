using System.Buffers;
using System.Text.Unicode;

namespace FastMail.Protocol.Smtp;

/// <summary>
/// A reverse-path or forward-path taken apart (RFC 5321 4.1.2, RFC 6531 3.3): views into the command line that die with
/// the call. The parser never throws, allocates or decides policy.
/// </summary>
internal readonly ref partial struct SmtpPath
{
    // atext of RFC 5322 3.2.3 without letters and digits
    private static readonly SearchValues<byte> Atext = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~"u8);

    private SmtpPath(ReadOnlySpan<byte> mailbox, int atSign, bool isAscii)
    {
        Mailbox = mailbox;
        AtSign = atSign;
        IsAscii = isAscii;
    }

    /// <summary>Local-part, at sign and domain without brackets and source route; empty for the null path.</summary>
    public ReadOnlySpan<byte> Mailbox { get; }

    /// <summary>
    /// Octet position of the at sign in <see cref="Mailbox"/>, or -1 for the null path and postmaster.
    /// </summary>
    public int AtSign { get; }

    /// <summary>No octet of the path is above 127, the ignored source route included.</summary>
    public bool IsAscii { get; }

    /// <summary>
    /// <c>Path = "&lt;" [ A-d-l ":" ] Mailbox "&gt;"</c>, <c>"&lt;&gt;"</c> and <c>"&lt;Postmaster&gt;"</c>.
    /// </summary>
    /// <param name="text">Starts at the bracket; may go on behind the path.</param>
    /// <param name="path">The parts.</param>
    /// <param name="consumed">Octets of the path with its brackets.</param>
    /// <returns><see cref="OperationStatus.Done"/> or <see cref="OperationStatus.InvalidData"/>.</returns>
    public static OperationStatus Parse(ReadOnlySpan<byte> text, out SmtpPath path, out int consumed) =>
        TryParseCommon(text, out path, out consumed) ? OperationStatus.Done : ParseSlow(text, out path, out consumed);

    /// <summary>The whole grammar; says the same of common paths.</summary>
    internal static OperationStatus ParseSlow(ReadOnlySpan<byte> text, out SmtpPath path, out int consumed)
    {
        path = default;
        consumed = 0;
        if (text.IsEmpty || text[0] != '<')
        {
            return OperationStatus.InvalidData;
        }
        if (text.Length > 1 && text[1] == '>')
        {
            path = new SmtpPath(default, -1, isAscii: true);
            consumed = 2;
            return OperationStatus.Done;
        }
        var at = 1;
        if (text.Length > 1 && text[1] == '@' && !TrySkipRouteSlow(text, ref at))
        {
            return OperationStatus.InvalidData;
        }
        var rest = text[at..];
        if (at == 1 && AsciiWord.StartsWith(rest, "postmaster>"u8))
        {
            path = new SmtpPath(rest[..10], -1, isAscii: true);
            consumed = 12;
            return OperationStatus.Done;
        }
        if (!TryParseMailbox(rest, out var length, out var atSign) || length == rest.Length || rest[length] != '>')
        {
            return OperationStatus.InvalidData;
        }
        consumed = at + length + 1;
        if (consumed > Limits.PathBytes)
        {
            return OperationStatus.InvalidData;
        }
        path = new SmtpPath(rest[..length], atSign, System.Text.Ascii.IsValid(text[..consumed]));
        return OperationStatus.Done;
    }

    /// <summary>
    /// <c>Mailbox = Local-part "@" ( Domain / address-literal )</c> at the start of <paramref name="text"/>.
    /// </summary>
    public static bool TryParseMailbox(ReadOnlySpan<byte> text, out int length, out int atSign)
    {
        length = 0;
        atSign = !text.IsEmpty && text[0] == '"' ? QuotedStringSlow(text) : DotString(text);
        if (atSign is <= 0 or > Limits.LocalPartBytes || atSign == text.Length || text[atSign] != '@')
        {
            return false;
        }
        var domain = text[(atSign + 1)..];
        var domainLength = !domain.IsEmpty && domain[0] == '[' ? LiteralSlow(domain) : Domain(domain);
        if (domainLength is <= 0 or > Limits.DomainBytes)
        {
            return false;
        }
        length = atSign + 1 + domainLength;
        return System.Text.Ascii.IsValid(text[..length]) || IsInternationalSlow(text[..length], domain[..domainLength]);
    }

    /// <summary><c>Dot-string = Atom *("." Atom)</c>; returns its length, 0 when it is malformed.</summary>
    private static int DotString(ReadOnlySpan<byte> text)
    {
        var at = 0;
        while (true)
        {
            var atom = AtomLength(text[at..]);
            if (atom == 0)
            {
                return 0;
            }
            at += atom;
            if (at == text.Length || text[at] != '.')
            {
                return at;
            }
            at++;
        }
    }

    private static int AtomLength(ReadOnlySpan<byte> text)
    {
        var at = text.IndexOfAnyExcept(Atext);
        while (at >= 0 && text[at] > 127) // UTF8-non-ascii (RFC 6531 3.3); validated as a whole later
        {
            var more = text[(at + 1)..].IndexOfAnyExcept(Atext);
            at = more < 0 ? -1 : at + 1 + more;
        }
        return at < 0 ? text.Length : at;
    }

    /// <summary>
    /// <c>Quoted-string = DQUOTE *QcontentSMTP DQUOTE</c>; returns its length, 0 when it is malformed.
    /// </summary>
    private static int QuotedStringSlow(ReadOnlySpan<byte> text)
    {
        for (var at = 1; at < text.Length; at++)
        {
            switch (text[at])
            {
                case (byte)'"':
                    return at + 1;
                case (byte)'\\':
                    at++;
                    if (at == text.Length || text[at] is < 32 or > 126)
                    {
                        return 0;
                    }
                    break;
                case < 32 or 127:
                    return 0;
                default:
                    break;
            }
        }
        return 0;
    }

    /// <summary><c>Domain = sub-domain *("." sub-domain)</c>; returns its length, 0 when it is malformed.</summary>
    private static int Domain(ReadOnlySpan<byte> text)
    {
        var label = 0; // start of the current label
        var at = 0;
        for (; at < text.Length; at++)
        {
            var octet = text[at];
            if (AsciiWord.IsLetterOrDigit(octet) || octet > 127)
            {
                continue;
            }
            if (octet == '-' && at > label)
            {
                continue;
            }
            if (octet != '.')
            {
                break;
            }
            if (!IsLabel(text[label..at]))
            {
                return 0;
            }
            label = at + 1;
        }
        return IsLabel(text[label..at]) ? at : 0;
    }

    private static bool IsLabel(ReadOnlySpan<byte> label) =>
        label.Length is > 0 and <= Limits.LabelBytes && label[^1] != '-';

    private static int LiteralSlow(ReadOnlySpan<byte> text)
    {
        var end = text.IndexOf((byte)']') + 1;
        return end > 0 && AddressLiteral.IsValid(text[..end]) ? end : 0;
    }

    /// <summary>
    /// <c>A-d-l = At-domain *( "," At-domain )</c> and the colon: must be accepted and is ignored (RFC 5321 C, F.2).
    /// </summary>
    private static bool TrySkipRouteSlow(ReadOnlySpan<byte> text, ref int at)
    {
        while (at < text.Length && text[at] == '@')
        {
            var length = Domain(text[(at + 1)..]);
            var domain = text.Slice(at + 1, length);
            if (length is 0 or > Limits.DomainBytes || !IsInternationalSlow(domain, domain))
            {
                return false;
            }
            at += 1 + length;
            if (at == text.Length)
            {
                return false;
            }
            if (text[at] == ':')
            {
                at++;
                return true;
            }
            if (text[at] != ',')
            {
                return false;
            }
            at++;
        }
        return false;
    }

    /// <summary>
    /// Well-formed UTF-8, and no full stop of another script in the domain: IDNA maps those to a dot, so the domain
    /// would be another one to the next reader.
    /// </summary>
    private static bool IsInternationalSlow(ReadOnlySpan<byte> mailbox, ReadOnlySpan<byte> domain) =>
        Utf8.IsValid(mailbox)
        && domain.IndexOf("\u3002"u8) < 0 && domain.IndexOf("\uFF0E"u8) < 0 && domain.IndexOf("\uFF61"u8) < 0;
}
