using System.Buffers.Text;
using System.Text;

namespace FastMail.LoadTest.Smtp;

/// <summary>
/// Forward-paths made from a pattern: <c>{n}</c> stands for 0..users-1, dealt round. Message m with r recipients gets
/// the numbers m*r .. m*r+r-1 (modulo users), so no message names a mailbox twice. Immutable; any thread.
/// </summary>
internal sealed class RecipientPattern
{
    private const string Placeholder = "{n}";
    private const int MostDigits = 10;

    private readonly byte[] _before;
    private readonly byte[] _after;
    private readonly bool _isNumbered;
    private readonly int _users;

    internal RecipientPattern(string pattern, int users, int perMessage)
    {
        int at = pattern.IndexOf(Placeholder, StringComparison.Ordinal);
        _isNumbered = at >= 0;
        _before = Encoding.UTF8.GetBytes(_isNumbered ? pattern[..at] : pattern);
        _after = Encoding.UTF8.GetBytes(_isNumbered ? pattern[(at + Placeholder.Length)..] : "");
        _users = users;
        PerMessage = perMessage;
    }

    internal int PerMessage { get; }

    internal int LongestMailbox => _before.Length + _after.Length + MostDigits;

    /// <summary>Writes the mailbox of recipient <paramref name="index"/> of a message; returns its octets.</summary>
    internal int Write(long sequence, int index, Span<byte> mailbox)
    {
        _before.CopyTo(mailbox);
        int length = _before.Length;
        if (_isNumbered)
        {
            long number = ((sequence * PerMessage) + index) % _users;
            _ = Utf8Formatter.TryFormat(number, mailbox[length..], out int digits);
            length += digits;
        }

        _after.CopyTo(mailbox[length..]);
        return length + _after.Length;
    }
}
