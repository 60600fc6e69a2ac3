using System.Diagnostics;
using System.Globalization;
using FastMail.LoadTest.Ledgers;
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
    private static readonly TimeSpan BetweenRounds = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan BetweenAttempts = TimeSpan.FromMilliseconds(500);

    private readonly Pop3Plan _pop3;
    private readonly TimeSpan _settle;
    private readonly TextWriter _progress;
    private readonly string _directory;
    private readonly LedgerWriter _ledgerWriter;
    private readonly SinkRecord _record;
    private readonly Collection _collection;
    private readonly List<string> _uncollected = [];
    private long _faults;
    private volatile bool _isSending;
    private volatile bool _isStopped;

    /// <param name="plan">Of the source; it opens lost connections again.</param>
    /// <param name="pop3">Whose maildrops are collected and emptied, and by how many at a time.</param>
    /// <param name="settle">How long to try, at the end, to collect a maildrop that refuses.</param>
    /// <param name="progress">Takes a line a second.</param>
    internal SoakRun(SmtpPlan plan, Pop3Plan pop3, TimeSpan settle, TextWriter progress)
    {
        _pop3 = pop3;
        _settle = settle;
        _progress = progress;
        _directory = Directory.CreateTempSubdirectory("fastmail-load-").FullName;
        LedgerPath = plan.LedgerPath ?? Path.Combine(_directory, "ledger");
        RecordPath = LedgerPath + ".collected";
        long first = File.Exists(LedgerPath) ? Ledger.Read(LedgerPath).NextSequence(plan.Seed) : 0;
        _ledgerWriter = new LedgerWriter(LedgerPath);
        _record = new SinkRecord(RecordPath);
        _collection = new Collection(_record);
        Source = new SmtpRun(plan with { Reconnect = true }, _ledgerWriter, first, progress);
    }

    internal string LedgerPath { get; }

    internal string RecordPath { get; }

    internal SmtpRun Source { get; }

    internal long Collected => _collection.Messages;

    /// <summary>Sessions that did not end well, counted and forgiven: the audit is what judges.</summary>
    internal long FailedSessions => Volatile.Read(ref _faults);

    /// <summary>Maildrops that could not be emptied in the end.</summary>
    internal IReadOnlyList<string> Uncollected => _uncollected;

    internal LedgerAudit? Audit { get; private set; }

    internal bool IsWell => Audit!.IsClean && _collection.Unknown == 0 && _uncollected.Count == 0
        && Source.Tally.Acked > 0;

    internal long Unknown => _collection.Unknown;

    internal void Run()
    {
        _isSending = true;
        Thread[] collectors =
            [.. Enumerable.Range(0, _pop3.Parallel).Select(index => new Thread(() => Collect(index)))];
        foreach (Thread collector in collectors)
        {
            collector.Start();
        }

        Source.Run();
        _isSending = false;
        foreach (Thread collector in collectors)
        {
            collector.Join();
        }

        _progress.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"sent {Source.Tally.Acked}, collected {Collected}; comparing"));
        _ledgerWriter.Flush();
        _record.Dispose();
        Audit = new LedgerAudit(Ledger.Read(LedgerPath), _pop3.Users);
        SinkRecord.Replay(RecordPath, Audit);
        Audit.Finish();
    }

    /// <summary>Sends no more; what was sent is collected and compared.</summary>
    internal void Stop()
    {
        _isStopped = true;
        Source.Stop();
    }

    public void Dispose()
    {
        Source.Dispose();
        _ledgerWriter.Dispose();
        _record.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    /// <summary>A collector's share of the users: round after round while mail comes, then each once to its end.</summary>
    private void Collect(int index)
    {
        using var worker = new Pop3Worker(_pop3, _collection, _ => Interlocked.Increment(ref _faults));
        while (_isSending && !_isStopped)
        {
            for (int user = index; user < _pop3.Users.Count && _isSending; user += _pop3.Parallel)
            {
                _ = worker.RunSession(_pop3.Users[user]);
            }

            Thread.Sleep(BetweenRounds); // an empty maildrop is not asked again at once
        }

        while (_isSending)
        {
            Thread.Sleep(BetweenRounds); // stopped: what is on its way is still answered
        }

        for (int user = index; user < _pop3.Users.Count; user += _pop3.Parallel)
        {
            long from = Stopwatch.GetTimestamp();
            while (!worker.RunSession(_pop3.Users[user]))
            {
                if (Stopwatch.GetElapsedTime(from) > _settle)
                {
                    lock (_uncollected)
                    {
                        _uncollected.Add(_pop3.Users[user]);
                    }

                    break;
                }

                Thread.Sleep(BetweenAttempts);
            }
        }
    }
}
