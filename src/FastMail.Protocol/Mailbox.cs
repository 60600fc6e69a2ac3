using FastMail.Protocol.Smtp;

namespace FastMail.Protocol;

/// <summary>The address of a maildrop as people write it. Stateless; any thread.</summary>
public static class Mailbox
{
    /// <summary>
    /// True for <c>Local-part "@" ( Domain / address-literal )</c> of RFC 5321 4.1.2 and RFC 6531 3.3, in UTF-8 and
    /// without brackets.
    /// </summary>
    public static bool IsValid(ReadOnlySpan<byte> text) =>
        SmtpPath.TryParseMailbox(text, out int length, out _) && length == text.Length;
}
