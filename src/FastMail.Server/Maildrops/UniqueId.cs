using System.Globalization;
using System.Text;
using FastMail.Storage;

namespace FastMail.Server.Maildrops;

/// <summary>
/// The unique-ids of messages (RFC 1939 7): <c>uidvalidity.uid</c>, or the one that an imported message brought along.
/// Stateless.
/// </summary>
internal static class UniqueId
{
    /// <summary>Stands for an id of the same length that is not known yet.</summary>
    public static readonly string Reserved = new('-', 40);

    private const int LongestId = 70;
    private const ulong LargestNumber = 1UL << 40; // beyond any maildrop: a number would not come back from there

    /// <exception cref="IOException">The disk cannot give it just now.</exception>
    public static string Of(OpenMaildrop maildrop, int index)
    {
        Span<byte> id = stackalloc byte[LongestId];
        return maildrop.TryWriteUniqueId(index, id, out int length)
            ? Encoding.ASCII.GetString(id[..length])
            : throw new IOException(
                $"message {maildrop.Snapshot[index].Uid}: its unique-id cannot be read now; try again later");
    }

    /// <summary>An id for a message that has none, the same for the same content: 40 hexadecimal digits.</summary>
    public static string Of(byte[] contentHash) => Convert.ToHexStringLower(contentHash)[..40];

    /// <summary>
    /// 1 to 70 characters from ! to ~, and not this store's own form with a number that no maildrop comes to.
    /// </summary>
    public static bool IsValid(string id, uint uidValidity) =>
        id.Length is > 0 and <= LongestId && !id.AsSpan().ContainsAnyExceptInRange('!', '~')
        && NumberIn(id, uidValidity) <= LargestNumber;

    /// <summary>
    /// The number in an id that looks like one of this store; 0 when it does not. The message must get at least this
    /// number, or the id would be given again, to another message.
    /// </summary>
    public static ulong NumberIn(string id, uint uidValidity)
    {
        string prefix = string.Create(CultureInfo.InvariantCulture, $"{uidValidity:x}.");
        return id.StartsWith(prefix, StringComparison.Ordinal)
            && ulong.TryParse(id.AsSpan(prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out ulong number)
            ? number
            : 0;
    }
}

/// <summary>The unique-ids of one maildrop. Owned by one import at a time.</summary>
internal sealed class UniqueIds
{
    private readonly HashSet<string> _ids = new(StringComparer.Ordinal);

    private UniqueIds(ulong mailboxId, ulong nextUid)
    {
        MailboxId = mailboxId;
        NextUid = nextUid;
    }

    /// <summary>All numbers from here on were free when the ids were read.</summary>
    public ulong NextUid { get; }

    public ulong MailboxId { get; }

    /// <exception cref="IOException">
    /// The disk cannot give one of them just now; without it a message might be stored a second time.
    /// </exception>
    public static UniqueIds Read(MailLog log, ulong mailboxId)
    {
        var ids = new UniqueIds(mailboxId, log.Measure(mailboxId).NextUid);
        using OpenMaildrop maildrop = log.OpenMaildrop(mailboxId);
        for (int i = 0; i < maildrop.Snapshot.Count; i++)
        {
            ids._ids.Add(UniqueId.Of(maildrop, i));
        }

        return ids;
    }

    /// <summary>That id is in use.</summary>
    public bool Contains(string id) => _ids.Contains(id);

    public void Add(string id) => _ids.Add(id);
}
