using System.Globalization;
using System.Text;

namespace FastMail.Server.Accounts;

/// <summary>
/// The one form of a password that is hashed: UTF-8 in NFC, spaces of other scripts as U+0020 (RFC 8265 4.2,
/// OpaqueString). Printable ASCII is as it is. Stateless; any thread.
/// </summary>
internal static class PasswordText
{
    /// <summary>Octets of the longest password, before and after (RFC 4616 2).</summary>
    public const int MaxBytes = 255;

    /// <summary>What to hash; null with control characters or none at all, when it is no text, or too long.</summary>
    public static byte[]? Prepare(string password)
    {
        if (password.Length == 0
            || password.Any(char.IsControl)
            || !Nfc.TryNormalize(WithPlainSpaces(password), out string? normalized))
        {
            return null;
        }

        byte[] prepared = Encoding.UTF8.GetBytes(normalized);
        return prepared.Length <= MaxBytes ? prepared : null;
    }

    /// <summary>
    /// What to compare with for a password that came over the wire; octets that are no password stay as they are, for
    /// they match nothing.
    /// </summary>
    public static ReadOnlySpan<byte> Prepare(ReadOnlySpan<byte> password)
    {
        if (Ascii.IsValid(password) || !System.Text.Unicode.Utf8.IsValid(password))
        {
            return password;
        }

        return Prepare(Encoding.UTF8.GetString(password)) ?? password;
    }

    private static string WithPlainSpaces(string password) =>
        string.Concat(password.Select(
            c => char.GetUnicodeCategory(c) == UnicodeCategory.SpaceSeparator ? ' ' : c));
}
