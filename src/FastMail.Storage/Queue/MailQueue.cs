namespace FastMail.Storage;

/// <summary>
/// The messages of a log that wait to be relayed, as the durable log says. Owned by the <see cref="MailLog"/>; any
/// thread. Complete from the moment the log is open.
/// </summary>
public sealed class MailQueue
{
    private readonly MaildropTable _maildrops;

    internal MailQueue(MaildropTable maildrops)
    {
        _maildrops = maildrops;
    }

    /// <summary>Messages with a recipient that has not ended.</summary>
    public int Messages
    {
        get
        {
            lock (_maildrops.Gate)
            {
                return _maildrops.Queue.Messages;
            }
        }
    }

    /// <summary>Recipients that have not ended.</summary>
    public int Recipients
    {
        get
        {
            lock (_maildrops.Gate)
            {
                return _maildrops.Queue.Recipients;
            }
        }
    }

    /// <summary>Looks a message up; false when all of its recipients have ended, or it never had one.</summary>
    /// <param name="seq">Number of its record.</param>
    /// <param name="message">The message.</param>
    /// <param name="recipients">Filled with all recipients, those that have ended too.</param>
    public bool TryFind(ulong seq, out QueuedMessage message, List<QueuedRecipient>? recipients = null)
    {
        recipients?.Clear();
        message = default;
        lock (_maildrops.Gate)
        {
            if (!_maildrops.Queue.TryFind(seq, out QueuedRecord record, out ReadOnlySpan<RecipientRecord> all))
            {
                return false;
            }

            message = new QueuedMessage(
                record.Seq, record.ArrivalSeconds, record.Bytes, record.Count, record.Open);
            for (int i = 0; recipients is not null && i < all.Length; i++)
            {
                recipients.Add(Show(record, (uint)i, all[i]));
            }

            return true;
        }
    }

    /// <summary>
    /// Adds the recipients that have not ended, of whole messages in the order of their numbers, until there are so many
    /// or a few more.
    /// </summary>
    /// <param name="fromSeq">Messages below are left out.</param>
    /// <param name="into">Where to.</param>
    /// <param name="most">How many; the lock of the index is held meanwhile, so not many thousands.</param>
    /// <returns>Where the next page begins; 0 when there is none.</returns>
    public ulong ReadPage(ulong fromSeq, List<QueuedRecipient> into, int most)
    {
        int end = into.Count + most;
        lock (_maildrops.Gate)
        {
            QueueTable queue = _maildrops.Queue;
            while (queue.TryFindNext(fromSeq, out QueuedRecord record, out ReadOnlySpan<RecipientRecord> recipients))
            {
                if (into.Count >= end)
                {
                    return record.Seq;
                }

                for (int i = 0; i < recipients.Length; i++)
                {
                    if (!recipients[i].State.IsEnd())
                    {
                        into.Add(Show(record, (uint)i, recipients[i]));
                    }
                }

                fromSeq = record.Seq + 1;
            }
        }

        return 0;
    }

    private QueuedRecipient Show(in QueuedRecord record, uint index, in RecipientRecord recipient)
    {
        bool isRedirected = (recipient.Flags & RecipientRecord.Redirected) != 0;
        return new QueuedRecipient
        {
            Seq = record.Seq,
            Recipient = index,
            State = recipient.State,
            DueMicros = recipient.DueMicros,
            Attempts = recipient.Attempts,
            IsDelayTold = (recipient.Flags & RecipientRecord.DelayTold) != 0,
            ArrivalSeconds = record.ArrivalSeconds,
            ForwardPath = isRedirected ? _maildrops.Queue.PathOf(record.Seq, index) : default(ReadOnlyMemory<byte>),
        };
    }
}

/// <summary>A message that waits to be relayed. A value.</summary>
/// <param name="Seq">Number of its record: its id in the queue.</param>
/// <param name="ArrivalSeconds">When it arrived, seconds since 1970 UTC.</param>
/// <param name="Bytes">Length of its record, with the body wherever that is.</param>
/// <param name="Recipients">All relay recipients.</param>
/// <param name="OpenRecipients">Those that have not ended.</param>
public readonly record struct QueuedMessage(
    ulong Seq, uint ArrivalSeconds, long Bytes, int Recipients, int OpenRecipients);

/// <summary>Where a relay recipient stands. A value.</summary>
public readonly record struct QueuedRecipient
{
    /// <summary>Number of the message's record.</summary>
    public ulong Seq { get; init; }

    /// <summary>As <see cref="PendingMessage.AddRelayRecipient"/> numbered it.</summary>
    public uint Recipient { get; init; }

    /// <summary>Where it stands.</summary>
    public QueueState State { get; init; }

    /// <summary>When to try next, microseconds since 1970 UTC; 0 as long as nothing was said.</summary>
    public long DueMicros { get; init; }

    /// <summary>Attempts so far.</summary>
    public int Attempts { get; init; }

    /// <summary>The sender has been told that it takes longer.</summary>
    public bool IsDelayTold { get; init; }

    /// <summary>When the message arrived, seconds since 1970 UTC.</summary>
    public uint ArrivalSeconds { get; init; }

    /// <summary>Where it goes instead of the forward-path of the envelope; empty unless it was redirected.</summary>
    public ReadOnlyMemory<byte> ForwardPath { get; init; }
}
