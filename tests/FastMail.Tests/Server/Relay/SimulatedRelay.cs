using FastMail.Server.Relay.Scheduling;
using FastMail.Tests.Server.Defence;

namespace FastMail.Tests.Server.Relay;

/// <summary>How a host of the simulation behaves. Immutable.</summary>
/// <param name="Name">Its destination.</param>
/// <param name="Latency">Of a connection and of a transaction.</param>
/// <param name="DeadUntil">Connections fail until then, since the start.</param>
/// <param name="RefusedPercent">Recipients that are put off each time.</param>
/// <param name="LostPercent">Transactions in which the connection is lost.</param>
/// <param name="MostConnections">One more is not let in.</param>
internal sealed record SimulatedHost(
    string Name, TimeSpan Latency, TimeSpan DeadUntil = default, int RefusedPercent = 0, int LostPercent = 0,
    int MostConnections = int.MaxValue);

/// <summary>
/// Drives a <see cref="DeliverySchedule"/> as the engine does, with hosts that are numbers and a clock that jumps from
/// event to event. Breaks off at the first thing that must not happen.
/// </summary>
internal sealed class SimulatedRelay
{
    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(30);

    private readonly HandClock _clock = new();
    private readonly Random _random;
    private readonly SimulatedHost[] _hosts;
    private readonly Dictionary<string, SimulatedHost> _hostOf;
    private readonly PriorityQueue<Action, (long At, int Number)> _events = new();
    private readonly Dictionary<string, Stack<Line>> _idle = new(StringComparer.Ordinal);
    private readonly Dictionary<(ulong Seq, uint Recipient), TimeSpan> _entered = [];
    private readonly Dictionary<string, int> _openAt = new(StringComparer.Ordinal);
    private readonly long _start;
    private int _number;

    public SimulatedRelay(int seed, ScheduleOptions options, params SimulatedHost[] hosts)
    {
        _random = new Random(seed);
        _hosts = hosts;
        _hostOf = hosts.ToDictionary(h => h.Name, StringComparer.Ordinal);
        Schedule = new DeliverySchedule(options, _clock, new Random(seed + 1));
        _start = _clock.GetTimestamp();
    }

    public DeliverySchedule Schedule { get; }

    /// <summary>How long each recipient took, by host, in the order of delivery, with its sender and priority.</summary>
    public List<(string Host, TimeSpan Took, TimeSpan At, uint Sender, int Priority)> Delivered { get; } = [];

    public int Undelivered => _entered.Count;

    public int Attempts { get; private set; }

    public TimeSpan Elapsed => _clock.GetElapsedTime(_start);

    /// <summary>A message comes in at that time for these hosts, by their place.</summary>
    public void Enter(TimeSpan at, ulong seq, uint sender, int priority, params int[] hosts) => At(at, () =>
    {
        for (uint i = 0; i < hosts.Length; i++)
        {
            Consignment consignment = Schedule.Make(seq, i);
            consignment.Sender = sender;
            consignment.Priority = (sbyte)priority;
            _entered.Add((seq, i), Elapsed);
            _routes[(seq, i)] = hosts[i];
            Route(consignment);
        }
    });

    private readonly Dictionary<(ulong Seq, uint Recipient), int> _routes = [];

    /// <summary>Until nothing is left to happen, or the time is over.</summary>
    public void Run(TimeSpan most)
    {
        Pump();
        while (Undelivered > 0 || _events.Count > 0)
        {
            long? due = Schedule.NextDue;
            bool hasEvent = _events.TryPeek(out _, out (long At, int Number) next);
            long now = Schedule.Now;
            long at = Math.Min(hasEvent ? next.At : long.MaxValue, due ?? long.MaxValue);
            if (at == long.MaxValue)
            {
                Fail("nothing will ever happen again, and mail is left");
            }

            if (at > most.Ticks / TimeSpan.TicksPerMicrosecond)
            {
                return;
            }

            if (at > now)
            {
                _clock.Advance(TimeSpan.FromMicroseconds(at - now));
            }

            if (hasEvent && next.At <= at)
            {
                _events.Dequeue()();
            }

            Pump();
        }
    }

    private void At(TimeSpan at, Action action) =>
        _events.Enqueue(action, (Math.Max(Schedule.Now, at.Ticks / TimeSpan.TicksPerMicrosecond), _number++));

    private void After(TimeSpan delay, Action action) => At(Elapsed + delay, action);

    private void Pump()
    {
        while (Schedule.TakeDue() is { } consignment)
        {
            Route(consignment);
        }

        while (Schedule.TakeAwake(out bool isProbe) is { } awake)
        {
            if (isProbe)
            {
                Open(awake);
            }
            else
            {
                Rouse(awake);
            }
        }

        while (Schedule.TakeOpening() is { } destination)
        {
            Open(destination);
        }

        while (Schedule.IsShort && _idle.Values.FirstOrDefault(lines => lines.Count > 0) is { } lines)
        {
            lines.Peek().Close();
            while (Schedule.TakeOpening() is { } destination)
            {
                Open(destination);
            }
        }
    }

    private void Route(Consignment consignment)
    {
        Destination destination = Schedule.Find(_hosts[_routes[(consignment.Seq, consignment[0])]].Name);
        for (int i = 1; i < consignment.Count; i++)
        {
            if (_routes[(consignment.Seq, consignment[i])] != _routes[(consignment.Seq, consignment[0])])
            {
                Fail("recipients of different destinations travel together");
            }
        }

        if (destination.IsClosed)
        {
            Schedule.Park(consignment, destination);
            return;
        }

        Schedule.MakeReady(consignment, destination);
        Rouse(destination);
    }

    private void Rouse(Destination destination)
    {
        if (_idle.TryGetValue(destination.Key, out Stack<Line>? lines) && lines.TryPop(out Line? line))
        {
            destination.Idle--;
            line.IsIdle = false;
            line.Work();
        }
    }

    private void Open(Destination destination)
    {
        SimulatedHost host = _hostOf[destination.Key];
        if (destination.Connections > Schedule.Options.MostConcurrency || Schedule.Connections > Schedule.Options.Connections)
        {
            Fail($"{destination.Connections} connections to {destination.Key}, {Schedule.Connections} in all");
        }

        int epoch = destination.Epoch;
        After(host.Latency, () =>
        {
            int open = _openAt.GetValueOrDefault(host.Name);
            if (Elapsed < host.DeadUntil || open >= host.MostConnections)
            {
                if (Schedule.OpeningFailed(destination, epoch, "refused"))
                {
                    ParkReady(destination);
                }

                return;
            }

            _openAt[host.Name] = open + 1;
            Schedule.Opened(destination);
            new Line(this, destination, host).Work();
        });
    }

    private void ParkReady(Destination destination)
    {
        while (Schedule.TakeFromClosed(destination) is { } consignment)
        {
            Schedule.Park(consignment, destination);
        }
    }

    private static void Fail(string why) => throw new InvalidOperationException(why);

    /// <summary>One open connection.</summary>
    private sealed class Line(SimulatedRelay relay, Destination destination, SimulatedHost host)
    {
        private readonly int _epoch = destination.Epoch;
        private int _uses;

        public bool IsIdle { get; set; }

        public void Work()
        {
            if (relay.Schedule.MustYield(destination) || relay.Schedule.Take(destination) is not { } consignment)
            {
                Rest();
                return;
            }

            relay.Attempts++;
            relay.After(host.Latency, () => End(consignment));
        }

        public void Close()
        {
            if (IsIdle)
            {
                destination.Idle--;
                relay._idle[destination.Key] = new Stack<Line>(relay._idle[destination.Key].Where(l => l != this).Reverse());
            }

            _uses = int.MaxValue;
            relay._openAt[host.Name]--;
            relay.Schedule.Closed(destination);
        }

        private void Rest()
        {
            if (relay.Schedule.IsShort)
            {
                Close();
                return;
            }

            IsIdle = true;
            destination.Idle++;
            if (!relay._idle.TryGetValue(destination.Key, out Stack<Line>? lines))
            {
                relay._idle[destination.Key] = lines = new Stack<Line>();
            }

            lines.Push(this);
            int uses = ++_uses;
            relay.After(IdleTime, () =>
            {
                if (IsIdle && _uses == uses)
                {
                    Close();
                }
            });
        }

        private void End(Consignment consignment)
        {
            bool isLost = relay._random.Next(100) < host.LostPercent;
            Span<bool> isKept = stackalloc bool[consignment.Count];
            int kept = 0;
            for (int i = 0; i < consignment.Count; i++)
            {
                isKept[i] = isLost || relay._random.Next(100) < host.RefusedPercent;
                kept += isKept[i] ? 1 : 0;
                if (!isKept[i])
                {
                    if (!relay._entered.Remove((consignment.Seq, consignment[i]), out TimeSpan entered))
                    {
                        Fail($"{consignment.Seq}/{consignment[i]} was delivered twice");
                    }

                    relay.Delivered.Add(
                        (host.Name, relay.Elapsed - entered, relay.Elapsed, consignment.Sender, consignment.Priority));
                }
            }

            if (kept == 0)
            {
                relay.Schedule.Free(consignment);
            }
            else
            {
                consignment.Keep(isKept);
                relay.Schedule.Defer(consignment);
            }

            if (isLost)
            {
                Close();
                if (relay.Schedule.Fails(destination, _epoch, "lost"))
                {
                    relay.ParkReady(destination);
                }
            }
            else
            {
                relay.Schedule.Works(destination, isForGood: kept < isKept.Length);
                Work();
            }
        }
    }
}
