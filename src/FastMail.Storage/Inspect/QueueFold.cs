using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Which messages of an inspected log still wait to be relayed: a message is done when each of its relay recipients has
/// ended. Owned by whoever adds up; one thread at a time.
/// </summary>
/// <typeparam name="T">What stands for a message.</typeparam>
internal sealed class QueueFold<T>
{
    private readonly Dictionary<ulong, Waiting> _waiting = [];
    private readonly List<LoggedQueueChange> _changes = [];

    /// <summary>Messages that have a recipient that has not ended.</summary>
    public int Messages => _waiting.Count;

    /// <summary>Recipients that have not ended.</summary>
    public int Recipients => _waiting.Values.Sum(static w => w.Open);

    /// <summary>Enters a message; false when there was one of that number, whose copy or original this is.</summary>
    public bool Enter(ulong seq, int recipients, T message)
    {
        ref Waiting? waiting = ref CollectionsMarshal.GetValueRefOrAddDefault(_waiting, seq, out bool isKnown);
        waiting ??= new Waiting(recipients);
        waiting.All.Add(message);
        return !isKnown;
    }

    /// <summary>Adds the messages that are done with the changes in this record.</summary>
    public void Note(LogRecord record, List<T> done)
    {
        // The changes in a copy of a message have been repeated where it matters, and say nothing here.
        if (_waiting.Count == 0 || record.Lsn >= SegmentList.ColdLsn
            || record.Type is not (RecordType.QueueState or RecordType.Message))
        {
            return;
        }

        _changes.Clear();
        record.ReadQueueChanges(_changes);
        foreach (LoggedQueueChange change in _changes)
        {
            if (change.State.IsEnd() && _waiting.TryGetValue(change.Seq, out Waiting? waiting)
                && waiting.End(change.Recipient))
            {
                done.AddRange(waiting.All);
                _ = _waiting.Remove(change.Seq);
            }
        }
    }

    private sealed class Waiting(int recipients)
    {
        private readonly bool[] _hasEnded = new bool[recipients];

        public int Open { get; private set; } = recipients;

        public List<T> All { get; } = [];

        /// <summary>True when it was the last.</summary>
        public bool End(uint recipient)
        {
            for (int i = 0; i < _hasEnded.Length; i++)
            {
                bool isMeant = recipient == QueueChange.AllRecipients || recipient == (uint)i;
                Open -= isMeant && !_hasEnded[i] ? 1 : 0;
                _hasEnded[i] |= isMeant;
            }

            return Open == 0;
        }
    }
}
