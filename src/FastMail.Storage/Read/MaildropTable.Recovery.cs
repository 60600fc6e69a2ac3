namespace FastMail.Storage;

/// <content>What a start finds in the log behind the checkpoint. Opening thread only.</content>
internal sealed partial class MaildropTable
{
    /// <summary>
    /// That many records of the log are missing here, and nobody knows for whom they were. A record gives a mailbox at
    /// most one unique-id, so going on that much higher, in every mailbox and also where none was seen yet, keeps every
    /// number that may have been given from naming another message. Opening thread only, in the order of the log.
    /// </summary>
    public void SkipUids(ulong missingRecords)
    {
        lock (Gate)
        {
            _uidFloor += missingRecords; // each mailbox's next number moves with it
        }
    }

    /// <summary>
    /// Enters a message of a cold segment; false when the mailbox has one of that unique-id. Opening thread only, and
    /// without a checkpoint.
    /// </summary>
    public bool TryInsert(ulong mailboxId, in MaildropEntry entry)
    {
        _changes++;
        return Get(mailboxId).TryInsert(entry, _uidFloor, _epoch);
    }

    /// <summary>
    /// Enters a message that recovery found in the log, also when the mailbox seems to have it elsewhere: a copy in a
    /// cold segment counts only from its MOVE record on. Opening thread only.
    /// </summary>
    public void Put(ulong mailboxId, in MaildropEntry entry)
    {
        _changes++;
        if (Get(mailboxId).Put(entry, _uidFloor, _epoch) is { } replaced)
        {
            Liveness.Release(replaced, entry.RecordBytes, isLarge: false);
            Bodies.Forget(replaced);
        }
    }

    /// <summary>
    /// Enters a message that is to be relayed and that recovery found in the log, also when the queue has it from a cold
    /// segment, as <see cref="Put"/> does. Opening thread only.
    /// </summary>
    public void Enqueue(in RecordHeader header, int recipients)
    {
        if (!Queue.TryEnter(header, recipients) && Queue.LsnOf(header.Seq) is { } replaced && replaced != header.Lsn)
        {
            _ = Queue.TryMove(header.Seq, replaced, header.Lsn);
            Liveness.Release(replaced, MaildropEntry.RecordBytesOf(header), isLarge: false);
            Bodies.Forget(replaced);
        }
    }

    /// <summary>
    /// The MOVE of a record is found in the log: whoever still has the message, has it there from now on. Opening
    /// thread only.
    /// </summary>
    /// <exception cref="IOException">The checkpoint's part of a maildrop cannot be read.</exception>
    public void Take(in RecordHeader header, ReadOnlySpan<MailboxUid> recipients, bool isRelayed)
    {
        int before = 0;
        int moved = 0;
        long bytes = MaildropEntry.RecordBytesOf(header);
        foreach (MailboxUid recipient in recipients)
        {
            Errno.Check(PrepareRemoval(recipient.MailboxId), "read the checkpoint of", $"maildrop {recipient.MailboxId}");
            MaildropIndex maildrop = Get(recipient.MailboxId);
            maildrop.CancelRemoval();
            if (maildrop.LsnOf(recipient.Uid) is not { } lsn)
            {
                continue;
            }

            if (lsn == header.Lsn)
            {
                before++;
                continue;
            }

            moved++;
            maildrop.Replace(recipient.Uid, header, _epoch);
            Liveness.Release(lsn, bytes, isLarge: false);
            Bodies.Move(lsn, header.Lsn);
        }

        if (isRelayed && Queue.LsnOf(header.Seq) is { } queued)
        {
            if (Queue.TryMove(header.Seq, queued, header.Lsn) && queued != header.Lsn)
            {
                moved++;
                Liveness.Release(queued, bytes, isLarge: false);
                Bodies.Move(queued, header.Lsn);
            }
            else
            {
                before++;
            }
        }

        _changes++;
        Liveness.Join(header.Lsn, bytes, before, moved);
    }

    /// <summary>
    /// Counts what is live in the segments anew, for a checkpoint that does not say. Opening thread only.
    /// </summary>
    /// <exception cref="IOException">A shard cannot be read.</exception>
    public void CountLive()
    {
        foreach ((ulong lsn, (int references, long bytes)) in ReadRecords())
        {
            Liveness.Enter(lsn, bytes, references);
        }
    }

    /// <summary>
    /// Adds up anew what is live in the segments, for a checkpoint that counts body files too. Opening thread only.
    /// </summary>
    /// <exception cref="IOException">A shard cannot be read.</exception>
    public void CountBytes()
    {
        foreach (Segment segment in _segments.All)
        {
            segment.Life.Bytes = 0;
        }

        foreach ((ulong lsn, (_, long bytes)) in ReadRecords())
        {
            if (_segments.Find(lsn) is { } segment)
            {
                segment.Life.Bytes += bytes;
            }
        }
    }

    /// <summary>The records that a checkpoint names, by address.</summary>
    private Dictionary<ulong, (int References, long Bytes)> ReadRecords()
    {
        Dictionary<ulong, (int References, long Bytes)> all = [];
        foreach (Shard? shard in _stored)
        {
            for (int i = 0; i < (shard?.Mailboxes.Length ?? 0); i++)
            {
                Errno.Check(shard!.SliceOf(i).Read(out MaildropEntry[] entries), "read", "a checkpoint");
                foreach (ref readonly MaildropEntry entry in entries.AsSpan())
                {
                    all[entry.Lsn] = (all.GetValueOrDefault(entry.Lsn).References + 1, entry.RecordBytes);
                }
            }
        }

        foreach ((ulong lsn, long bytes) in Queue.ReadRecords())
        {
            all[lsn] = (all.GetValueOrDefault(lsn).References + 1, bytes);
        }

        return all;
    }
}
