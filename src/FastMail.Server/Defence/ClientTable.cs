using System.Runtime.InteropServices;

namespace FastMail.Server.Defence;

/// <summary>
/// Connections and connection rate of each client. Bounded: those with a connection are as many as the loop admits,
/// those without are forgotten oldest first, in constant time, and being forgotten only gives a client its burst back.
/// Owned by <see cref="ClientAdmission"/>; loop thread only. Allocates only while it grows.
/// </summary>
internal sealed class ClientTable
{
    private const int None = -1;

    private readonly int _remembered;
    private readonly double _burst;
    private readonly double _perMillisecond;
    private readonly Dictionary<ClientNetwork, int> _indexes = [];
    private readonly List<Entry> _entries = [];
    private int _free = None;

    // Clients without a connection, in the order in which their last one ended.
    private int _oldest = None;
    private int _newest = None;
    private int _idle;

    /// <param name="remembered">Clients without a connection that are kept.</param>
    /// <param name="burst">New connections at once.</param>
    /// <param name="perMinute">New connections a minute; 0 is no limit.</param>
    public ClientTable(int remembered, int burst, int perMinute)
    {
        _remembered = remembered;
        _burst = burst;
        _perMillisecond = perMinute / 60_000.0;
    }

    /// <summary>Clients known, with and without connections.</summary>
    public int Count => _indexes.Count;

    /// <summary>Connections this client has now.</summary>
    public int Open(in ClientNetwork client) =>
        _indexes.TryGetValue(client, out int index) ? _entries[index].Open : 0;

    /// <summary>Takes one new connection off the client's rate; false when there is none left.</summary>
    /// <param name="client">Who connects.</param>
    /// <param name="now">Milliseconds on a clock that never goes back.</param>
    public bool TrySpend(in ClientNetwork client, long now)
    {
        if (_perMillisecond == 0)
        {
            return true;
        }

        ref Entry entry = ref At(Find(client, now));
        entry.Tokens = Math.Min(_burst, entry.Tokens + ((now - entry.Refilled) * _perMillisecond));
        entry.Refilled = now;
        if (entry.Tokens < 1)
        {
            return false;
        }

        entry.Tokens--;
        return true;
    }

    public void Enter(in ClientNetwork client, long now)
    {
        int index = Find(client, now);
        if (At(index).Open++ == 0)
        {
            Unlink(index);
        }
    }

    public void Leave(in ClientNetwork client)
    {
        int index = _indexes[client];
        if (--At(index).Open == 0)
        {
            Link(index);
            Forget(_remembered);
        }
    }

    private ref Entry At(int index) => ref CollectionsMarshal.AsSpan(_entries)[index];

    /// <summary>The client's entry; a new one has its whole burst and no connection.</summary>
    private int Find(in ClientNetwork client, long now)
    {
        if (_indexes.TryGetValue(client, out int index))
        {
            return index;
        }

        Forget(_remembered - 1);
        index = _free;
        if (index == None)
        {
            index = _entries.Count;
            _entries.Add(default);
        }
        else
        {
            _free = At(index).Next;
        }

        At(index) = new Entry { Client = client, Tokens = _burst, Refilled = now };
        _indexes.Add(client, index);
        Link(index);
        return index;
    }

    private void Forget(int most)
    {
        while (_idle > most)
        {
            int index = _oldest;
            Unlink(index);
            ref Entry entry = ref At(index);
            _indexes.Remove(entry.Client);
            entry.Next = _free;
            _free = index;
        }
    }

    private void Link(int index)
    {
        ref Entry entry = ref At(index);
        entry.Previous = _newest;
        entry.Next = None;
        if (_newest == None)
        {
            _oldest = index;
        }
        else
        {
            At(_newest).Next = index;
        }

        _newest = index;
        _idle++;
    }

    private void Unlink(int index)
    {
        ref Entry entry = ref At(index);
        if (entry.Previous == None)
        {
            _oldest = entry.Next;
        }
        else
        {
            At(entry.Previous).Next = entry.Next;
        }

        if (entry.Next == None)
        {
            _newest = entry.Previous;
        }
        else
        {
            At(entry.Next).Previous = entry.Previous;
        }

        _idle--;
    }

    private struct Entry
    {
        public ClientNetwork Client;
        public int Open;
        public int Previous;
        public int Next;
        public double Tokens;
        public long Refilled;
    }
}
