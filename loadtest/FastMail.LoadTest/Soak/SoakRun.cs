using System.Globalization;
using System.Runtime.ExceptionServices;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Live;
using FastMail.LoadTest.Pop3;
using FastMail.LoadTest.Sink;
using FastMail.LoadTest.Smtp;

namespace FastMail.LoadTest.Soak;

/// <summary>
/// Mail goes in over SMTP and out over POP3 at the same time, for a long time; at the end everything is collected and
/// compared with the ledger. The server may be killed and started meanwhile. Used by the main thread; <see cref="Stop"/>
/// by any.
/// </summary>
internal sealed class SoakRun : IDisposable
{
    private readonly Pop3Plan _pop3;
    private readonly TextWriter _progress;
    private readonly EvidenceFolder _evidence;
    private readonly LedgerWriter _ledgerWriter;
    private readonly SinkRecord _record;
    private readonly Collection _collection;
    private readonly SoakCollector _collector;
    private int _stops;
    private ExceptionDispatchInfo? _failure; // of the collector; read when its thread is over

    /// <param name="plan">Of the source; it opens lost connections again.</param>
    /// <param name="pop3">Whose maildrops are collected and emptied, and by how many at a time.</param>
    /// <param name="settle">How long to go on, at the end, without any maildrop that could be collected.</param>
    /// <param name="progress">Takes a line a second.</param>
    internal SoakRun(SmtpPlan plan, Pop3Plan pop3, TimeSpan settle, TextWriter progress)
    {
        _pop3 = pop3;
        _progress = progress;
        _evidence = new EvidenceFolder(progress);
        LedgerPath = plan.LedgerPath ?? _evidence.PathOf("ledger");
        RecordPath = LedgerPath + ".collected";
        long first = File.Exists(LedgerPath) ? Ledger.Read(LedgerPath).NextSequence(plan.Seed) : 0;
        _ledgerWriter = new LedgerWriter(LedgerPath);
        _record = new SinkRecord(RecordPath);
        _collection = new Collection(_record);
        _collector = new SoakCollector(pop3, _collection, settle);
        Source = new SmtpRun(plan with { Reconnect = true }, _ledgerWriter, first, progress);
    }

    /// <summary>Files that nobody named stay when it does not end well.</summary>
    internal bool KeepsEvidence { get; init; }

    internal string LedgerPath { get; }

    internal string RecordPath { get; }

    internal SmtpRun Source { get; }

    internal long Collected => _collection.Messages;

    /// <summary>Sessions that did not end well, counted and forgiven: the audit is what judges.</summary>
    internal long FailedSessions => _collector.Faults;

    /// <summary>Maildrops that could not be emptied in the end.</summary>
    internal IReadOnlyList<string> Uncollected => _collector.Uncollected;

    /// <summary>
    /// Listings that contradict themselves or what was retrieved. Two messages that share a unique-id are collected as
    /// one, so that a copy shows here and nowhere else.
    /// </summary>
    internal long WrongListings => _collector.WrongListings;

    internal LedgerAudit? Audit { get; private set; }

    /// <summary>It sent until its time was over or it was stopped, and what was collected is as it should be.</summary>
    internal bool IsWell => Audit!.IsClean && _collection.Unknown == 0 && Uncollected.Count == 0
        && WrongListings == 0
        && Source.Tally.Acked > 0 && !Source.IsGivenUp && !Source.IsCutShort;

    internal long Unknown => _collection.Unknown;

    internal void Run()
    {
        var collecting = new Thread(Collect) { Name = "collector" };
        collecting.Start();
        try
        {
            Source.Run();
        }
        finally
        {
            _collector.EndRounds();
            collecting.Join();
        }

        _failure?.Throw();

        _progress.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"sent {Source.Tally.Acked}, collected {Collected}; comparing"));
        _ledgerWriter.Flush();
        _record.Dispose();
        Audit = new LedgerAudit(Ledger.Read(LedgerPath), _pop3.Users);
        SinkRecord.Replay(RecordPath, Audit);
        Audit.Finish();
    }

    private void Collect()
    {
        try
        {
            _collector.Run();
        }
        catch (IOException failure)
        {
            _failure = ExceptionDispatchInfo.Capture(failure);
            Source.Stop(); // and not this run's: that would be a first signal
        }
    }

    /// <summary>Any thread.</summary>
    internal Standing TakeStanding()
    {
        Standing source = Source.TakeStanding();
        return source with
        {
            Title = $"soak: {source.Title}",
            Counts = [.. source.Counts, ("collected", Collected), ("failed sessions", FailedSessions)],
        };
    }

    /// <summary>Sends no more; what was sent is collected and compared. The second time collects no more either.</summary>
    internal void Stop()
    {
        if (Interlocked.Increment(ref _stops) > 1)
        {
            _collector.Abandon();
        }

        _collector.PauseRounds(); // what is on its way is still answered
        Source.Stop();
    }

    public void Dispose()
    {
        Source.Dispose();
        _collector.Dispose();
        _ledgerWriter.Dispose();
        _record.Dispose();
        _evidence.IsWanted = KeepsEvidence && (Audit is null || !IsWell);
        _evidence.Dispose();
    }
}
