using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// One message of a maildrop: 32 octets, the layout of the index. A value.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = 32)]
public readonly record struct MaildropEntry
{
    internal MaildropEntry(ulong uid, in RecordHeader header)
    {
        Uid = uid;
        Lsn = header.Lsn;
        WireBytes = header.TraceBytes + header.BodyBytes;
        Octets = header.Octets;
        ArrivalSeconds = (uint)(header.TimestampMicros / TimeSpan.MicrosecondsPerSecond);
        Flags = (MessageFlags)header.Flags;
        Check = (ushort)header.HeaderCrc;
    }

    /// <summary>Number in the maildrop: ascending by arrival, never used twice.</summary>
    public ulong Uid { get; }

    /// <summary>Where the record is: the argument of <see cref="MailLog.TryRead"/>.</summary>
    public ulong Lsn { get; }

    /// <summary>Octets of trace and body in wire form.</summary>
    public uint WireBytes { get; }

    /// <summary>Size as POP3 tells it (RFC 1939 11).</summary>
    public uint Octets { get; }

    /// <summary>Seconds since 1970 UTC.</summary>
    public uint ArrivalSeconds { get; }

    /// <summary>Flags of the message.</summary>
    public MessageFlags Flags { get; }

    /// <summary>Low half of the record's header CRC: ties the entry to its record.</summary>
    public ushort Check { get; }
}

/// <summary>How much a maildrop holds. A value.</summary>
/// <param name="Messages">How many messages.</param>
/// <param name="Octets">Sum of their sizes as POP3 tells them.</param>
public readonly record struct MaildropSize(int Messages, long Octets);

/// <summary>
/// A maildrop as it was at one moment: immune to everything that happens later. Owned by whoever asked for it; any
/// thread may read it.
/// </summary>
public sealed class MaildropSnapshot
{
    private readonly MaildropEntry[] _entries;

    internal MaildropSnapshot(MaildropEntry[] entries, int count, long octets, uint uidValidity)
    {
        _entries = entries;
        Count = count;
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
            return ref _entries[index];
        }
    }
}

/// <summary>
/// The messages of one mailbox in order of arrival. Owned by the <see cref="MaildropTable"/>. Entries are only ever
/// added behind those a snapshot can see; a removal makes a new array.
/// </summary>
internal sealed class MaildropIndex
{
    public MaildropEntry[] Entries { get; private set; } = [];

    public int Count { get; private set; }

    public long Octets { get; private set; }

    /// <summary>Next number to be given; belongs to the appender.</summary>
    public ulong NextUid { get; set; } = 1;

    public void Add(in MaildropEntry entry)
    {
        if (Count == Entries.Length)
        {
            // A new array, never Array.Resize of a shared one: snapshots keep the old. This growth is the one
            // allocation an append may cause.
            MaildropEntry[] larger = new MaildropEntry[Math.Max(4, Count * 2)];
            Entries.AsSpan(0, Count).CopyTo(larger);
            Entries = larger;
        }

        Entries[Count++] = entry;
        Octets += entry.Octets;
        NextUid = Math.Max(NextUid, entry.Uid + 1);
    }

    /// <summary>Entries and ranges both ascend, so one pass over both finds the survivors.</summary>
    public void Remove(ReadOnlySpan<UidRange> ranges, BodyTable bodies)
    {
        MaildropEntry[] survivors = new MaildropEntry[Count];
        int kept = 0;
        foreach (ref readonly MaildropEntry entry in Entries.AsSpan(0, Count))
        {
            while (!ranges.IsEmpty && entry.Uid >= ranges[0].First && entry.Uid - ranges[0].First >= ranges[0].Count)
            {
                ranges = ranges[1..];
            }

            if (!ranges.IsEmpty && entry.Uid >= ranges[0].First)
            {
                Octets -= entry.Octets;
                if ((entry.Flags & MessageFlags.ExternalBody) != 0)
                {
                    bodies.Release(entry.Lsn);
                }
            }
            else
            {
                survivors[kept++] = entry;
            }
        }

        Count = kept;
        Entries = kept == 0 ? [] : survivors;
    }
}

/// <summary>
/// All maildrops of the store, by mailbox id: a fold over the log, rebuilt when it is opened. Owned by the
/// <see cref="MailLog"/>. Written by the appender alone, under <see cref="Gate"/>; anyone may take a snapshot.
/// </summary>
internal sealed class MaildropTable(uint uidValidity)
{
    private readonly Dictionary<ulong, MaildropIndex> _maildrops = [];
    private readonly MaildropSnapshot _empty = new([], 0, 0, uidValidity);
    private ulong _firstUid = 1;

    /// <summary>Held for one group's entries or one snapshot: microseconds.</summary>
    public Lock Gate { get; } = new();

    /// <summary>The body files that messages of these maildrops name; guarded by <see cref="Gate"/>.</summary>
    public BodyTable Bodies { get; } = new();

    public int Count
    {
        get
        {
            lock (Gate)
            {
                return _maildrops.Count;
            }
        }
    }

    public MaildropSnapshot Snapshot(ulong mailboxId)
    {
        lock (Gate)
        {
            return _maildrops.TryGetValue(mailboxId, out MaildropIndex? maildrop)
                ? new MaildropSnapshot(maildrop.Entries, maildrop.Count, maildrop.Octets, uidValidity)
                : _empty;
        }
    }

    public MaildropSize Measure(ulong mailboxId)
    {
        lock (Gate)
        {
            return _maildrops.TryGetValue(mailboxId, out MaildropIndex? maildrop)
                ? new MaildropSize(maildrop.Count, maildrop.Octets)
                : default;
        }
    }

    /// <summary>
    /// Gives away the next number of a mailbox. Appender only: the number is used up even if the group fails, because
    /// then the log ends with it.
    /// </summary>
    public ulong NextUid(ulong mailboxId)
    {
        // Reading without the lock is safe: this thread is the only one that writes.
        if (!_maildrops.TryGetValue(mailboxId, out MaildropIndex? maildrop))
        {
            lock (Gate)
            {
                maildrop = Get(mailboxId);
            }
        }

        return maildrop.NextUid++;
    }

    /// <summary>
    /// That many records of the log are missing here, and nobody knows for whom they were. A record gives a mailbox at
    /// most one unique-id, so going on that much higher, in every mailbox and also where none was seen yet, keeps every
    /// number that may have been given from naming another message. Opening thread only, in the order of the log.
    /// </summary>
    public void SkipUids(ulong missingRecords)
    {
        lock (Gate)
        {
            _firstUid += missingRecords;
            foreach (MaildropIndex maildrop in _maildrops.Values)
            {
                maildrop.NextUid += missingRecords;
            }
        }
    }

    /// <summary>The caller holds <see cref="Gate"/>.</summary>
    public void Add(ulong mailboxId, in MaildropEntry entry)
    {
        Get(mailboxId).Add(entry);
    }

    /// <summary>The caller holds <see cref="Gate"/>.</summary>
    public void Remove(ulong mailboxId, ReadOnlySpan<UidRange> ranges)
    {
        Get(mailboxId).Remove(ranges, Bodies);
    }

    private MaildropIndex Get(ulong mailboxId)
    {
        ref MaildropIndex? maildrop = ref CollectionsMarshal.GetValueRefOrAddDefault(_maildrops, mailboxId, out _);
        return maildrop ??= new MaildropIndex { NextUid = _firstUid };
    }
}
