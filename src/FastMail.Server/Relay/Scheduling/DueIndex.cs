namespace FastMail.Server.Relay.Scheduling;

/// <summary>
/// Those who wait, the earliest first: a binary heap that knows the place of each, so that any one can leave. Owned by
/// <see cref="DeliverySchedule"/>; loop thread only.
/// </summary>
internal sealed class DueIndex
{
    private Consignment[] _heap = new Consignment[64];

    public int Count { get; private set; }

    public Consignment? First => Count > 0 ? _heap[0] : null;

    /// <summary>All of them in no order; not to be kept over a change.</summary>
    public ReadOnlySpan<Consignment> All => _heap.AsSpan(0, Count);

    public void Add(Consignment consignment)
    {
        if (Count == _heap.Length)
        {
            Array.Resize(ref _heap, Count + (Count / 2)); // by half: a million are not to cost two
        }

        Put(consignment, Count++);
        Rise(consignment.Place);
    }

    public void Remove(Consignment consignment)
    {
        int place = consignment.Place;
        Consignment last = _heap[--Count];
        _heap[Count] = null!;
        if (place < Count)
        {
            Put(last, place);
            Rise(place);
            Sink(last.Place);
        }
    }

    /// <summary>Its time has changed.</summary>
    public void Move(Consignment consignment)
    {
        Rise(consignment.Place);
        Sink(consignment.Place);
    }

    private void Rise(int place)
    {
        Consignment moving = _heap[place];
        while (place > 0)
        {
            int above = (place - 1) / 2;
            if (_heap[above].Due <= moving.Due)
            {
                break;
            }

            Put(_heap[above], place);
            place = above;
        }

        Put(moving, place);
    }

    private void Sink(int place)
    {
        Consignment moving = _heap[place];
        while (true)
        {
            int below = (place * 2) + 1;
            if (below >= Count)
            {
                break;
            }

            if (below + 1 < Count && _heap[below + 1].Due < _heap[below].Due)
            {
                below++;
            }

            if (moving.Due <= _heap[below].Due)
            {
                break;
            }

            Put(_heap[below], place);
            place = below;
        }

        Put(moving, place);
    }

    private void Put(Consignment consignment, int place)
    {
        _heap[place] = consignment;
        consignment.Place = place;
    }
}
