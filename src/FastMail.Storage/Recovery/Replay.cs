using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Folds valid records, in the order of the log, into the maildrops and the facts with which the log goes on. Owned by
/// the <see cref="Recovery"/>.
/// </summary>
internal sealed class Replay(MaildropTable maildrops, LogEnd end, ColdRecovery cold)
{
    private readonly List<UidRange> _ranges = [];

    /// <summary>What lies below may have been dropped, by what the records of checkpoints say.</summary>
    public ulong OldestNeededLsn { get; private set; }

    /// <summary>Enters the walk's current record.</summary>
    /// <exception cref="DamagedLogException">It is intact and yet says what no FastMail writes.</exception>
    public void Apply(Segment segment, SegmentWalk walk)
    {
        end.TimestampMicros = Math.Max(end.TimestampMicros, walk.Current.TimestampMicros);
        switch (walk.Current.Type)
        {
            case RecordType.Message:
                ApplyMessage(segment, walk);
                break;
            case RecordType.Expunge:
                _ranges.Clear();
                if (!PendingExpunge.TryRead(walk.CurrentMeta, out ulong mailboxId, _ranges))
                {
                    throw DamagedLogException.At(segment, walk.CurrentOffset, "an EXPUNGE record names no mailbox");
                }

                Remove(mailboxId);
                if (!PendingExpunge.ReadCold(walk.CurrentMeta).IsEmpty)
                {
                    segment.Life.HasAimed = true;
                }

                break;
            case RecordType.QueueState:
                ApplyChanges(segment, walk);
                break;
            case RecordType.Move:
                cold.ApplyMove(segment, walk);
                break;
            case RecordType.Checkpoint when CheckpointMeta.TryRead(walk.CurrentMeta, out CheckpointMeta checkpoint):
                OldestNeededLsn = Math.Max(OldestNeededLsn, checkpoint.OldestNeededLsn);
                break;
            case RecordType.Group:
                end.GroupNo = ReadGroup(segment, walk).GroupNo;
                break;
            default:
                break; // SEAL was checked by the walk; PAD and skippable records say nothing
        }
    }

    /// <summary>The content of the walk's current record, which is a GROUP.</summary>
    /// <exception cref="DamagedLogException">It is intact and impossible.</exception>
    public static GroupMeta ReadGroup(Segment segment, SegmentWalk walk)
    {
        ulong own = walk.Current.Lsn;
        if (!GroupMeta.TryRead(walk.CurrentMeta, out GroupMeta group) || group.DurableLsn > own
            || group.DurableLsn < segment.BaseLsn)
        {
            throw DamagedLogException.At(segment, walk.CurrentOffset, "a GROUP record has an impossible content");
        }

        return group;
    }

    private void Remove(ulong mailboxId)
    {
        Errno.Check(maildrops.PrepareRemoval(mailboxId), "read the checkpoint of", $"maildrop {mailboxId}");
        lock (maildrops.Gate)
        {
            maildrops.Remove(mailboxId, CollectionsMarshal.AsSpan(_ranges));
        }
    }

    private void ApplyMessage(Segment segment, SegmentWalk walk)
    {
        int references = 0;
        int relayed = 0;
        bool hasChanges = false;
        MetaReader meta = new(walk.CurrentMeta);
        while (meta.Read())
        {
            references += meta.Type == MetaType.LocalRecipient ? 1 : 0;
            relayed += meta.Type == MetaType.RelayRecipient ? 1 : 0;
            hasChanges |= meta.Type == MetaType.QueueChange;
        }

        references += relayed > 0 ? 1 : 0;
        maildrops.Liveness.Enter(walk.Current.Lsn, MaildropEntry.RecordBytesOf(walk.Current), references);
        meta = new(walk.CurrentMeta);
        while (meta.Read())
        {
            if (meta.Type != MetaType.LocalRecipient)
            {
                continue;
            }

            if (!MailboxUid.TryRead(meta.Value, out MailboxUid recipient))
            {
                throw DamagedLogException.At(segment, walk.CurrentOffset, "a local recipient is too short");
            }

            maildrops.Put(recipient.MailboxId, new MaildropEntry(recipient.Uid, walk.Current));
        }

        if (relayed > 0)
        {
            maildrops.Enqueue(walk.Current, relayed);
        }

        if (walk.Current.HasExternalBody)
        {
            if (!BodyReference.TryFind(walk.CurrentMeta, out BodyReference body))
            {
                throw DamagedLogException.At(segment, walk.CurrentOffset, "a message does not name its body file");
            }

            maildrops.Bodies.Add(walk.Current.Lsn, body.Id, references);
        }

        if (hasChanges)
        {
            ApplyChanges(segment, walk);
        }
    }

    private void ApplyChanges(Segment segment, SegmentWalk walk)
    {
        bool isWhole;
        lock (maildrops.Gate)
        {
            isWhole = QueueFields.Apply(walk.CurrentMeta, walk.Current.Lsn, maildrops);
        }

        if (!isWhole)
        {
            throw DamagedLogException.At(segment, walk.CurrentOffset, "a change of the queue does not have its shape");
        }
    }
}
