using System.Diagnostics;
using System.Runtime.ExceptionServices;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Live;
using FastMail.LoadTest.Measure;
using FastMail.LoadTest.Messages;
using FastMail.LoadTest.Sink;
using FastMail.LoadTest.Smtp;

namespace FastMail.LoadTest.Relay;

/// <summary>
/// A source and a sink around a relay, each with its own thread; what arrived is audited against what was sent. Used by
/// the main thread; <see cref="Stop"/> by any.
/// </summary>
internal sealed class RelayRun : IDisposable
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan QuietTime = TimeSpan.FromSeconds(1);
    private static readonly long Second = Stopwatch.Frequency;

    private readonly SmtpRun _source;
    private readonly SinkServer _sink;
    private readonly SinkRecord _record;
    private readonly LedgerWriter _ledgerWriter;
    private readonly EvidenceFolder _evidence;
    private readonly SendTimes _times;
    private readonly OwedArrivals _owed;
    private readonly TimeSpan _settle;
    private readonly double _ticksToNanoseconds = 1e9 / Stopwatch.Frequency;
    private long _intervalEndsAt; // of the arrivals' series
    private long _firstArrival;
    private long _lastArrival;
    private long _arrived;
    private long _accepted;
    private ExceptionDispatchInfo? _failure; // of the sink; read when its thread is over
    private volatile bool _isStopped;

    /// <param name="plan">Of the source; with a ledger of its own.</param>
    /// <param name="sinkPlan">Of the sink.</param>
    /// <param name="settle">How long nothing may arrive, once all is sent, before what is owed is given up.</param>
    /// <param name="progress">Takes a line a second.</param>
    internal RelayRun(SmtpPlan plan, SinkPlan sinkPlan, TimeSpan settle, TextWriter progress)
    {
        _evidence = new EvidenceFolder(progress);
        LedgerPath = plan.LedgerPath ?? _evidence.PathOf("ledger");
        RecordPath = sinkPlan.RecordPath ?? _evidence.PathOf("record");
        _settle = settle;
        long first = File.Exists(LedgerPath) ? Ledger.Read(LedgerPath).NextSequence(plan.Seed) : 0;
        _times = new SendTimes(first);
        _owed = new OwedArrivals(plan.Recipients, first);
        _record = new SinkRecord(RecordPath);
        _ledgerWriter = new LedgerWriter(LedgerPath);
        _sink = new SinkServer(sinkPlan with { IsQuiet = true }, Arrived, progress);
        _source = new SmtpRun(plan, _ledgerWriter, first, progress) { Times = _times, Owed = _owed };
    }

    /// <summary>Files that nobody named stay when the audit is not clean.</summary>
    internal bool KeepsEvidence { get; init; }

    internal string LedgerPath { get; }

    internal string RecordPath { get; }

    internal SmtpRun Source => _source;

    internal SinkTally SinkTally => _sink.Tally;

    /// <summary>From the time a message was to leave, or left, to its acceptance by the sink.</summary>
    internal LatencyHistogram EndToEnd { get; } = new();

    /// <summary>Messages sent after the warm-up of this run that arrived, copies counted.</summary>
    internal long ArrivedMessages => Volatile.Read(ref _arrived);

    /// <summary>From the first of their arrivals to the last.</summary>
    internal TimeSpan Arriving =>
        Stopwatch.GetElapsedTime(Volatile.Read(ref _firstArrival), Volatile.Read(ref _lastArrival));

    /// <summary>Those messages and their latencies by the second, from the first arrival on.</summary>
    internal TimeSeries Arrivals { get; } = new();

    internal LedgerAudit? Audit { get; private set; }

    /// <summary>Sends all, waits until all has arrived or nothing comes any more, then compares.</summary>
    /// <exception cref="IOException">A file or the kernel failed, on whichever side; both are at their end.</exception>
    internal void Run()
    {
        var receiving = new Thread(Receive) { Name = "sink" };
        receiving.Start();
        try
        {
            _source.Run();
            AwaitArrivals();
        }
        finally
        {
            _sink.Stop();
            receiving.Join();
        }

        _failure?.Throw();
        Arrivals.EndInterval(Arriving);
        _record.Dispose();
        _ledgerWriter.Dispose();
        Ledger ledger = Ledger.Read(LedgerPath);
        Audit = new LedgerAudit(ledger, ledger.Entries.Values.SelectMany(entry => entry.Recipients));
        SinkRecord.Replay(RecordPath, Audit);
        Audit.Finish();
    }

    /// <summary>Any thread.</summary>
    internal Standing TakeStanding()
    {
        Standing source = _source.TakeStanding();
        return source with
        {
            Title = $"relay: {source.Title}",
            Counts = [.. source.Counts, ("arrived", ArrivedMessages)],
            Latency = ("end to end", EndToEnd),
        };
    }

    internal void Stop()
    {
        _isStopped = true;
        _source.Stop();
    }

    public void Dispose()
    {
        _source.Dispose();
        _sink.Dispose();
        _record.Dispose();
        _ledgerWriter.Dispose();
        _evidence.IsWanted = KeepsEvidence && Audit is not { IsClean: true };
        _evidence.Dispose();
    }

    private void Receive()
    {
        try
        {
            _sink.Run();
        }
        catch (IOException failure)
        {
            _failure = ExceptionDispatchInfo.Capture(failure);
            Stop();
        }
    }

    /// <summary>Until everybody has got what was acknowledged, and for a while no copy of it has come.</summary>
    private void AwaitArrivals()
    {
        // A relay that was killed sends again what was on its way, and does so as late as it sends anything.
        bool wasBroken = _source.Tally.ConnectionsLost > 0;
        TimeSpan quiet = wasBroken || _settle < QuietTime ? _settle : QuietTime;
        long seen = -1;
        for (long since = 0; !_isStopped; Thread.Sleep(Look))
        {
            long accepted = Volatile.Read(ref _accepted);
            if (accepted != seen)
            {
                seen = accepted;
                since = Stopwatch.GetTimestamp();
            }
            else if (Stopwatch.GetElapsedTime(since) > (_owed.IsAnyLeft ? _settle : quiet))
            {
                return;
            }
        }
    }

    /// <summary>On the sink's thread.</summary>
    private void Arrived(in LoadId? id, string hash, IReadOnlyList<string> recipients)
    {
        _record.Add(id, hash, recipients);
        long sequence = id is { } known && known.Seed == _source.Plan.Seed ? known.Sequence : -1;
        if (sequence >= 0)
        {
            _owed.Arrived(sequence, recipients);
        }

        Volatile.Write(ref _accepted, _accepted + 1);
        long now = Stopwatch.GetTimestamp();
        long sentAt = sequence >= 0 ? _times.Of(sequence) : 0;
        if (sentAt == 0)
        {
            return; // of an earlier run, of the warm-up, or none of ours: the audit knows it, the clock does not
        }

        long nanoseconds = (long)((now - sentAt) * _ticksToNanoseconds);
        EndToEnd.Record(nanoseconds);
        if (_firstArrival == 0)
        {
            Volatile.Write(ref _firstArrival, now);
            _intervalEndsAt = now + Second;
        }
        else if (now >= _intervalEndsAt)
        {
            Arrivals.EndInterval(Stopwatch.GetElapsedTime(_firstArrival, now));
            _intervalEndsAt = now + Second;
        }

        Arrivals.Record(_source.Generator.Describe(sequence).Octets, nanoseconds);
        Volatile.Write(ref _lastArrival, now);
        Volatile.Write(ref _arrived, _arrived + 1);
    }
}
