namespace FastMail.Storage;

/// <content>What the newest checkpoint says, and how the next one comes to know what has changed.</content>
internal sealed partial class MaildropTable
{
    /// <summary>Begins with what a checkpoint says. Opening thread, first of all.</summary>
    public void Load(Checkpoint checkpoint)
    {
        lock (Gate)
        {
            foreach (Shard shard in checkpoint.Shards)
            {
                _stored[shard.Reference.Number] = shard;
                _count += shard.Mailboxes.Length;
            }

            _uidFloor = checkpoint.Manifest.UidFloor;
            _point = checkpoint.Manifest.Point;
            Bodies.Load(checkpoint.Manifest.Bodies.Span);
            Queue.Load(checkpoint.Queue);
        }
    }

    /// <summary>
    /// Begins a capture: from here on the first change of each mailbox keeps what was there. Checkpointer only.
    /// </summary>
    public TableCapture BeginCapture()
    {
        lock (Gate)
        {
            _epoch++;
            return new TableCapture(
                _epoch, _point, _uidFloor, Changes, Bodies.ToBytes(), Queue.Capture(),
                CaptureExtra?.Invoke() ?? default);
        }
    }

    /// <summary>
    /// The mailboxes of one shard that differed from it when the capture began, in no order. Checkpointer only.
    /// </summary>
    public void Capture(int number, in TableCapture capture, List<CapturedMaildrop> maildrops)
    {
        lock (Gate)
        {
            foreach ((ulong mailboxId, MaildropIndex maildrop) in _changed[number] ?? [])
            {
                if (maildrop.TryCapture(capture.Epoch, out MaildropState state))
                {
                    maildrops.Add(new CapturedMaildrop(mailboxId, state));
                }
            }
        }
    }

    /// <summary>The shard as it is now, null when there is none. Checkpointer only, the one who replaces it.</summary>
    public Shard? StoredShard(int number)
    {
        return _stored[number];
    }

    /// <summary>
    /// Puts a new shard, made from a capture, in the place of the old one, and lets go of what it says in memory.
    /// Checkpointer only.
    /// </summary>
    public void Replace(Shard shard, in TableCapture capture)
    {
        int number = shard.Reference.Number;
        Shard? old;
        lock (Gate)
        {
            old = _stored[number];
            _stored[number] = shard;
            Dictionary<ulong, MaildropIndex> changed = _changed[number] ?? [];
            foreach ((ulong mailboxId, MaildropIndex maildrop) in changed)
            {
                int at = shard.Find(mailboxId);
                ShardSlice slice = at < 0 ? default : shard.SliceOf(at);
                if (!maildrop.Rebase(slice, capture.Epoch))
                {
                    _ = changed.Remove(mailboxId);
                }
            }
        }

        old?.Release();
    }
}
