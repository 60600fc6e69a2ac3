using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>A message of the queue in memory and in a checkpoint: 44 octets. A value.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal struct QueuedRecord
{
    private const uint LargeBit = 1u << 31;

    public ulong Seq;
    public ulong Lsn;
    public ulong LastChange; // address of the record with its newest change; 0: none
    private uint _units;
    public uint ArrivalSeconds;
    public int First; // of its recipients in the page
    public int Count;
    public int Open; // recipients that have not ended

    public QueuedRecord(in RecordHeader header, int recipients)
    {
        Seq = header.Seq;
        Lsn = header.Lsn;
        ArrivalSeconds = (uint)(header.TimestampMicros / TimeSpan.MicrosecondsPerSecond);
        Count = recipients;
        Open = recipients;
        bool isLarge = Liveness.IsLarge(header.TraceBytes + header.BodyBytes);
        long bytes = header.HasExternalBody
            ? (long)header.TotalBytes + header.BodyBytes
            : MaildropEntry.RecordBytesOf(header);
        _units = (uint)(bytes / RecordHeader.Alignment) | (isLarge ? LargeBit : 0);
    }

    /// <summary>
    /// As <see cref="MaildropEntry.RecordBytes"/> tells it; with the body also when that is a file of its own.
    /// </summary>
    public readonly long Bytes => (_units & ~LargeBit) * (long)RecordHeader.Alignment;

    /// <summary>Worth a hole when it is dead.</summary>
    public readonly bool IsLarge => (_units & LargeBit) != 0;
}

/// <summary>A recipient of a message of the queue in memory and in a checkpoint: 28 octets. A value.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal struct RecipientRecord
{
    public ulong Origin; // address of the record that said so first; 0: nothing was said yet
    public ulong Place; // address of the newest record that says so
    public long DueMicros;
    public ushort Attempts;
    public QueueState State;
    public byte Flags; // 1: the delay is told; 2: redirected

    public const byte DelayTold = 1;
    public const byte Redirected = 2;
}

/// <summary>
/// Up to 256 messages of the queue, ascending by number, with their recipients in the same order. Owned by the
/// <see cref="QueueTable"/> and guarded as that is. Once a checkpoint has captured it, it never changes again: who
/// wants to change it makes a copy first.
/// </summary>
internal sealed class QueuePage
{
    /// <summary>Messages of a page: taking one out moves 9 KB on average, and a list of a million has 4,000 pages.</summary>
    public const int Capacity = 256;

    public readonly QueuedRecord[] Messages = new QueuedRecord[Capacity];
    public RecipientRecord[] Recipients;

    public QueuePage(int recipients = Capacity)
    {
        Recipients = new RecipientRecord[recipients];
    }

    public int Count { get; private set; }

    public int RecipientCount { get; private set; }

    /// <summary>A checkpoint has it.</summary>
    public bool IsCaptured { get; set; }

    public ulong FirstSeq => Messages[0].Seq;

    public Span<RecipientRecord> RecipientsOf(int at)
    {
        return Recipients.AsSpan(Messages[at].First, Messages[at].Count);
    }

    /// <summary>Where that number is, or the complement of where it would be.</summary>
    public int Find(ulong seq)
    {
        int low = 0;
        int high = Count - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            ulong there = Messages[middle].Seq;
            if (there == seq)
            {
                return middle;
            }

            (low, high) = there < seq ? (middle + 1, high) : (low, middle - 1);
        }

        return ~low;
    }

    public QueuePage Clone()
    {
        QueuePage clone = new(Math.Max(Capacity, RecipientCount));
        clone.Take(this, 0);
        return clone;
    }

    /// <summary>Inserts a message whose recipients are all as in the beginning.</summary>
    public void Insert(int at, QueuedRecord message)
    {
        message.First = at == Count ? RecipientCount : Messages[at].First;
        Reserve(message.Count);
        Span<RecipientRecord> behind = Recipients.AsSpan(message.First, RecipientCount - message.First);
        behind.CopyTo(Recipients.AsSpan(message.First + message.Count));
        Recipients.AsSpan(message.First, message.Count).Clear();
        Messages.AsSpan(at, Count - at).CopyTo(Messages.AsSpan(at + 1));
        Messages[at] = message;
        Count++;
        RecipientCount += message.Count;
        Shift(at + 1, message.Count);
    }

    public void Remove(int at)
    {
        QueuedRecord message = Messages[at];
        Recipients.AsSpan(message.First + message.Count, RecipientCount - message.First - message.Count)
            .CopyTo(Recipients.AsSpan(message.First));
        Messages.AsSpan(at + 1, Count - at - 1).CopyTo(Messages.AsSpan(at));
        Count--;
        RecipientCount -= message.Count;
        Shift(at, -message.Count);
    }

    /// <summary>Appends what another page has from there on.</summary>
    public void Take(QueuePage other, int from)
    {
        int first = from == other.Count ? other.RecipientCount : other.Messages[from].First;
        int recipients = other.RecipientCount - first;
        Reserve(recipients);
        other.Recipients.AsSpan(first, recipients).CopyTo(Recipients.AsSpan(RecipientCount));
        other.Messages.AsSpan(from, other.Count - from).CopyTo(Messages.AsSpan(Count));
        int at = Count;
        Count += other.Count - from;
        Shift(at, RecipientCount - first);
        RecipientCount += recipients;
    }

    /// <summary>Forgets everything from there on.</summary>
    public void Truncate(int count)
    {
        RecipientCount = count == Count ? RecipientCount : Messages[count].First;
        Count = count;
    }

    /// <summary>Begins with what was read into its arrays; false when that does not fit together.</summary>
    public bool TryAdopt(int messages, int recipients)
    {
        Count = messages;
        RecipientCount = recipients;
        int next = 0;
        foreach (ref readonly QueuedRecord message in Messages.AsSpan(0, messages))
        {
            if (message.First != next || message.Count <= 0 || message.Count > recipients - next
                || message.Open <= 0 || message.Open > message.Count)
            {
                return false;
            }

            next += message.Count;
        }

        return next == recipients && Count > 0;
    }

    private void Reserve(int more)
    {
        int needed = RecipientCount + more;
        if (needed > Recipients.Length)
        {
            Array.Resize(ref Recipients, Math.Max(needed, RecipientCount + (RecipientCount / 4) + 32));
        }
    }

    private void Shift(int from, int by)
    {
        for (int i = from; i < Count; i++)
        {
            Messages[i].First += by;
        }
    }
}
