namespace FastMail.Storage;

/// <summary>How much a maildrop holds. A value.</summary>
/// <param name="Messages">How many messages.</param>
/// <param name="Octets">Sum of their sizes as POP3 tells them.</param>
/// <param name="NextUid">No number from here on has been applied; the next append may change that.</param>
public readonly record struct MaildropSize(int Messages, long Octets, ulong NextUid);

/// <summary>
/// A maildrop as it was at one moment: immune to everything that happens later, checkpoints included. Owned by whoever
/// asked for it; any thread may read it, also after the log was closed.
/// </summary>
public sealed class MaildropSnapshot
{
    private readonly MaildropEntry[] _stored;
    private readonly EntryList _recent;

    internal MaildropSnapshot(MaildropEntry[] stored, in EntryList recent, long octets, uint uidValidity)
    {
        _stored = stored;
        _recent = recent;
        Count = stored.Length + recent.Count;
        Octets = octets;
        UidValidity = uidValidity;
    }

    /// <summary>Messages.</summary>
    public int Count { get; }

    /// <summary>Sum of their sizes, octets.</summary>
    public long Octets { get; }

    /// <summary>Changes when unique-ids of the past no longer name the same messages.</summary>
    public uint UidValidity { get; }

    /// <summary>Message <paramref name="index"/>, 0 to <see cref="Count"/> - 1, in order of arrival.</summary>
    public ref readonly MaildropEntry this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count);
            if (index < _stored.Length)
            {
                return ref _stored[index];
            }

            return ref _recent[index - _stored.Length];
        }
    }
}
