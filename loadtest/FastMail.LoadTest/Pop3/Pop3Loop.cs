using System.Diagnostics;
using System.Text;
using FastMail.LoadTest.Kernel;

namespace FastMail.LoadTest.Pop3;

/// <summary>
/// POP3 sessions on an epoll loop: the thread that calls <see cref="Run"/> owns the connections, their common receive
/// buffer and the tally. Whose maildrop is opened when is the dealer's affair.
/// </summary>
internal sealed class Pop3Loop : IDisposable
{
    private const int ReceiveOctets = 256 * 1024; // stays in the second-level cache
    private const int CommandOctets = 16; // of USER or PASS beside the name

    private static readonly long Second = Stopwatch.Frequency;

    private readonly IPop3Dealer _dealer;
    private readonly Epoll _epoll = new();
    private readonly Pop3Connection[] _connections;
    private readonly byte[] _received = GC.AllocateUninitializedArray<byte>(ReceiveOctets, pinned: true);
    private readonly PriorityQueue<Pop3Connection, long> _waiting = new(); // by when the dealer is asked
    private int _live;

    /// <param name="plan">What to do.</param>
    /// <param name="dealer">Whose maildrops.</param>
    /// <param name="collected">Takes every message; null to measure only.</param>
    internal Pop3Loop(Pop3Plan plan, IPop3Dealer dealer, ICollected? collected)
    {
        Plan = plan;
        Steps = plan.StepsFor(collected is not null);
        Collected = collected;
        _dealer = dealer;
        LongestLogin = CommandOctets + Math.Max(
            Encoding.UTF8.GetByteCount(plan.Password), plan.Users.Max(Encoding.UTF8.GetByteCount));
        _connections = new Pop3Connection[plan.Parallel];
        for (int i = 0; i < _connections.Length; i++)
        {
            _connections[i] = new Pop3Connection(this, _epoll, i);
        }
    }

    internal Pop3Plan Plan { get; }

    internal Pop3Step[] Steps { get; }

    internal ICollected? Collected { get; }

    internal Pop3Tally Tally { get; } = new();

    /// <summary>Octets of the longest login command.</summary>
    internal int LongestLogin { get; }

    /// <summary>Where a connection receives; another's octets are in it afterwards.</summary>
    internal Span<byte> Received => _received;

    /// <summary>When this round of the loop began, stopwatch ticks.</summary>
    internal long Now { get; private set; }

    /// <summary>Runs until the dealer has nothing more for any connection.</summary>
    internal void Run()
    {
        long startedAt = Stopwatch.GetTimestamp();
        Now = startedAt;
        _live = _connections.Length;
        foreach (Pop3Connection connection in _connections)
        {
            _waiting.Enqueue(connection, startedAt);
        }

        long tickAt = startedAt + Second;
        OpenDue();
        while (_live > 0)
        {
            int ready = _epoll.WaitUntil(_waiting.TryPeek(out _, out long due) ? Math.Min(due, tickAt) : tickAt);
            Now = Stopwatch.GetTimestamp();
            for (int i = 0; i < ready; i++)
            {
                _connections[_epoll.TokenOf(i)].OnReady(_epoll.EventsOf(i));
            }

            OpenDue();
            if (Now >= tickAt)
            {
                tickAt += Second;
                Tally.Series.EndInterval(Stopwatch.GetElapsedTime(startedAt, Now));
                CheckSilence();
                _dealer.Tick();
            }
        }

        Tally.Series.EndInterval(Stopwatch.GetElapsedTime(startedAt));
    }

    public void Dispose()
    {
        foreach (Pop3Connection connection in _connections)
        {
            connection.Dispose();
        }

        _epoll.Dispose();
    }

    internal void Wrong(string text) => _dealer.Wrong(text);

    /// <summary>By way of the queue: opening here would nest as deep as a server that hangs up is quick.</summary>
    internal void Ended(Pop3Connection connection, bool isWell)
    {
        _dealer.Ended(connection.Number, isWell);
        _waiting.Enqueue(connection, Now);
    }

    private void OpenDue()
    {
        while (_waiting.TryPeek(out Pop3Connection? connection, out long at) && at <= Now)
        {
            _ = _waiting.Dequeue();
            if (_dealer.TryDeal(connection.Number, out string? user, out TimeSpan? lookAgain))
            {
                connection.Open(user);
            }
            else if (lookAgain is { } pause)
            {
                _waiting.Enqueue(connection, Now + Math.Max(1, (long)(pause.TotalSeconds * Second)));
            }
            else
            {
                _live--;
            }
        }
    }

    private void CheckSilence()
    {
        foreach (Pop3Connection connection in _connections)
        {
            connection.CheckSilence(Now);
        }
    }
}
