namespace FastMail.Server.Relay.Scheduling;

/// <summary>
/// What is ready for one destination: higher MT-PRIORITY first (RFC 6710 5.1), and among equals one message of each
/// sender in turn, so that a mailing does not stand in front of a letter. Owned by its destination; loop thread only.
/// </summary>
internal sealed class ReadyQueue
{
    private readonly List<Lane> _lanes = []; // by falling priority; nearly always one
    private readonly SenderQueue _first = new(); // had their turn, and were not ready to go

    public int Consignments { get; private set; }

    public int Recipients { get; private set; }

    /// <summary>Those that have had their turn before; they are next.</summary>
    public int PutBacks { get; private set; }

    public bool IsNextPutBack => PutBacks > 0;

    /// <summary>
    /// At the end of its sender's queue. True when it was taken into the one there, of the same message, and is free.
    /// </summary>
    public bool Add(Consignment consignment, int mostRecipients)
    {
        Recipients += consignment.Count;
        bool isMerged = LaneOf(consignment.Priority).Add(consignment, mostRecipients);
        Consignments += isMerged ? 0 : 1;
        return isMerged;
    }

    /// <summary>
    /// Its turn had come, and comes again at once. Were it to wait behind the others, what was made ready for it could be
    /// forgotten before it is asked for.
    /// </summary>
    public void PutBack(Consignment consignment)
    {
        Consignments++;
        Recipients += consignment.Count;
        PutBacks++;
        _first.Append(consignment);
    }

    public Consignment? Take()
    {
        if (Consignments == 0)
        {
            return null;
        }

        if (_first.Head is not null)
        {
            Consignments--;
            Recipients -= _first.Head.Count;
            PutBacks--;
            return _first.TakeHead();
        }

        foreach (Lane lane in _lanes)
        {
            if (lane.Take() is { } consignment)
            {
                Consignments--;
                Recipients -= consignment.Count;
                return consignment;
            }
        }

        throw new InvalidOperationException("a ready queue has lost count");
    }

    public void CopyTo(List<Consignment> all)
    {
        _first.CopyTo(all);
        foreach (Lane lane in _lanes)
        {
            lane.CopyTo(all);
        }
    }

    private Lane LaneOf(sbyte priority)
    {
        int i = 0;
        while (i < _lanes.Count && _lanes[i].Priority > priority)
        {
            i++;
        }

        if (i == _lanes.Count || _lanes[i].Priority != priority)
        {
            _lanes.Insert(i, new Lane(priority));
        }

        return _lanes[i];
    }

    /// <summary>The senders of one priority in a ring.</summary>
    private sealed class Lane(sbyte priority)
    {
        private readonly Dictionary<uint, SenderQueue> _senders = [];
        private readonly Stack<SenderQueue> _free = new();
        private SenderQueue? _last; // whose turn was; the next in the ring is next

        public sbyte Priority => priority;

        public bool Add(Consignment consignment, int mostRecipients)
        {
            if (!_senders.TryGetValue(consignment.Sender, out SenderQueue? queue))
            {
                queue = _free.TryPop(out SenderQueue? free) ? free : new SenderQueue();
                queue.Sender = consignment.Sender;
                _senders.Add(consignment.Sender, queue);
                Link(queue);
            }
            else if (queue.Tail!.MayTravelWith(consignment, mostRecipients))
            {
                queue.Tail.Add(consignment);
                return true;
            }

            queue.Append(consignment);
            return false;
        }

        public Consignment? Take()
        {
            if (_last is null)
            {
                return null;
            }

            SenderQueue queue = _last.Next!;
            Consignment consignment = queue.TakeHead();
            if (queue.Tail is null)
            {
                Unlink(queue);
                _senders.Remove(queue.Sender);
                _free.Push(queue);
            }
            else
            {
                _last = queue;
            }

            return consignment;
        }

        public void CopyTo(List<Consignment> all)
        {
            foreach (SenderQueue queue in _senders.Values)
            {
                queue.CopyTo(all);
            }
        }

        /// <summary>A new sender comes after all the others.</summary>
        private void Link(SenderQueue queue)
        {
            queue.Next = _last is null ? queue : _last.Next;
            if (_last is not null)
            {
                _last.Next = queue;
            }

            _last = queue;
        }

        /// <summary>Only ever the one whose turn it was.</summary>
        private void Unlink(SenderQueue queue)
        {
            if (ReferenceEquals(queue.Next, queue))
            {
                _last = null;
            }
            else
            {
                _last!.Next = queue.Next;
            }

            queue.Next = null;
        }
    }

    private sealed class SenderQueue
    {
        public uint Sender { get; set; }

        public SenderQueue? Next { get; set; }

        public Consignment? Head { get; private set; }

        public Consignment? Tail { get; private set; }

        public void Append(Consignment consignment)
        {
            consignment.Next = null;
            if (Tail is null)
            {
                Head = consignment;
            }
            else
            {
                Tail.Next = consignment;
            }

            Tail = consignment;
        }

        public void CopyTo(List<Consignment> all)
        {
            for (Consignment? consignment = Head; consignment is not null; consignment = consignment.Next)
            {
                all.Add(consignment);
            }
        }

        public Consignment TakeHead()
        {
            Consignment head = Head!;
            Head = head.Next;
            Tail = Head is null ? null : Tail;
            head.Next = null;
            return head;
        }
    }
}
