using System.Buffers.Text;
using System.Globalization;
using System.Text;

namespace FastMail.LoadTest.Smtp;

/// <summary>
/// Mailboxes made from a pattern: <c>{n}</c> stands for 0..users-1, dealt round. Message m with r recipients gets
/// the numbers m*r .. m*r+r-1 (modulo users), so no message names a mailbox twice. Immutable; any thread.
/// </summary>
internal sealed class MailboxPattern
{
    private const string Placeholder = "{n}";
    private const int MostDigits = 10;

    private readonly string _beforeText;
    private readonly string _afterText;
    private readonly byte[] _before;
    private readonly byte[] _after;
    private readonly bool _isNumbered;
    internal MailboxPattern(string pattern, int users, int perMessage)
    {
        int at = pattern.IndexOf(Placeholder, StringComparison.Ordinal);
        _isNumbered = at >= 0;
        _beforeText = _isNumbered ? pattern[..at] : pattern;
        _afterText = _isNumbered ? pattern[(at + Placeholder.Length)..] : "";
        _before = Encoding.UTF8.GetBytes(_beforeText);
        _after = Encoding.UTF8.GetBytes(_afterText);
        Users = users;
        PerMessage = perMessage;
    }

    internal int PerMessage { get; }

    /// <summary>How many numbers there are.</summary>
    internal int Users { get; }

    internal int LongestMailbox => _before.Length + _after.Length + MostDigits;

    /// <summary>Writes the mailbox of recipient <paramref name="index"/> of a message; returns its octets.</summary>
    internal int Write(long sequence, int index, Span<byte> mailbox)
    {
        _before.CopyTo(mailbox);
        int length = _before.Length;
        if (_isNumbered)
        {
            long number = ((sequence * PerMessage) + index) % Users;
            _ = Utf8Formatter.TryFormat(number, mailbox[length..], out int digits);
            length += digits;
        }

        _after.CopyTo(mailbox[length..]);
        return length + _after.Length;
    }

    /// <summary>Which recipient of the message this mailbox is, in either case of letters; -1 for none.</summary>
    internal int IndexOf(string mailbox, long sequence)
    {
        int digits = mailbox.Length - _beforeText.Length - _afterText.Length;
        if (digits < 0 || !mailbox.StartsWith(_beforeText, StringComparison.OrdinalIgnoreCase)
            || !mailbox.EndsWith(_afterText, StringComparison.OrdinalIgnoreCase))
        {
            return -1;
        }

        if (!_isNumbered)
        {
            return digits == 0 ? 0 : -1;
        }

        ReadOnlySpan<char> text = mailbox.AsSpan(_beforeText.Length, digits);
        if (!long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) || number >= Users)
        {
            return -1;
        }

        long index = (number + Users - (sequence * PerMessage % Users)) % Users;
        return index < PerMessage ? (int)index : -1;
    }
}
