using System.Globalization;
using System.Text;
using FastMail.Storage;
using FastMail.Tests.Storage;

namespace FastMail.Tests.Simulation;

/// <summary>
/// One seed: several lives of a server on one lying disk, each ended by a crash, an error or in order, and after each
/// start the ledger's judgement. Belongs to one thread.
/// </summary>
/// <remarks>
/// The seed replays the sessions, the faults, the groups and what a power loss leaves of each file. It does not replay
/// how the thread that prepares segments interleaves with the appender inside one turn, nor a proof that the appender
/// writes because the machine was slow for 10 ms; a failure that needs one of these may take a few replays.
/// </remarks>
internal sealed class SimulationRun
{
    private readonly Random _random;
    private readonly SimulatedAccounts _accounts;
    private readonly SimulatedClock _clock = new();
    private readonly Ledger _ledger = new();
    private readonly Clerk _clerk;
    private readonly LyingDisk _disk;
    private readonly List<string> _story = [];
    private readonly int _longestText;
    private readonly int _oneInBodies;
    private readonly int _spares;
    private bool _metReused;
    private DiskPort? _port;

    private SimulationRun(int seed, SimulatedAccounts accounts, bool isFlushALie)
    {
        _random = new Random(seed);
        _accounts = accounts;
        _clerk = new Clerk(new Random(~seed)); // chance of its own: it leaves the postman's as it is
        _longestText = (int[])[400, 5_000, 40_000, 90_000] is var sizes ? sizes[_random.Next(sizes.Length)] : 0;
        // With small ones among them, much that is live stands right behind records whose body is elsewhere.
        _oneInBodies = _random.Next(4) == 0 ? 3 : 15;
        _spares = seed % 4 == 0 ? 2 : 1; // with one, segments are used again sooner
        _disk = new LyingDisk(
            _random.Next(2) == 0 ? 512 : 4096,
            _random.Next(6) == 0 ? 1_300_000 : 64L << 20)
        {
            IsFlushALie = isFlushALie,
        };
    }

    private enum End
    {
        InAppender,
        WhileNaming,
        InSpareMaker,
        InBodies,
        InOpening,
        InClosing,
        Quiet,
        Orderly,
        AfterAppenderError,
        AfterSpareError,
        AfterBodyError,
        AfterOpeningError,
        InCheckpoint,
        AfterCheckpointError,
        InReclaimer,
        AfterReclaimError,
    }

    /// <summary>
    /// Runs a seed; answers the number of messages that were kept, and whether the log was ever met in a segment that
    /// had been one before.
    /// </summary>
    /// <exception cref="BrokenPromiseException">With the seed and the story.</exception>
    public static (int Kept, bool MetReused) Go(int seed, SimulatedAccounts accounts, bool isFlushALie = false)
    {
        SimulationRun run = new(seed, accounts, isFlushALie);
        try
        {
            int lives = 3 + run._random.Next(4);
            for (int life = 0; life < lives; life++)
            {
                run.Live((End)run._random.Next((int)End.AfterReclaimError + 1));
            }

            run.Live(End.Orderly);
            run.Live(End.Orderly); // what the last recovery left is sound as well
            return (run._ledger.Kept + run._clerk.Kept, run._metReused);
        }
        catch (Exception e) when (e is BrokenPromiseException or DamagedLogException or TimeoutException)
        {
            throw new BrokenPromiseException(
                $"seed {seed}: {e.Message}\nreplay: FASTMAIL_SIM_SEED={seed}\n{string.Join('\n', run._story)}\n"
                + $"last calls of the disk:\n{run._port?.Trace}");
        }
    }

    private void Live(End end)
    {
        FaultPlan plan = new(_random.Next(), _random.Next(3) == 0 ? 8 : 0, () => _clock.Move(TimeSpan.FromSeconds(3)));
        _port = _disk.Boot(plan);
        if (end == End.InOpening)
        {
            plan.EndProcessAfter(DiskLane.Opener, _random.Next(70));
        }
        else if (end == End.AfterOpeningError)
        {
            FailAfter(plan, DiskLane.Opener, 65);
        }

        _story.Add($"life: {end}");
        if (Start(plan) is { } server)
        {
            using (server)
            {
                LiveOn(server, end, plan);
                if (end == End.InClosing)
                {
                    plan.EndProcessAfter(DiskLane.Appender, _random.Next(2));
                }
                else if (end != End.Orderly)
                {
                    _port.End();
                }
            }
        }

        _port.End();
        _metReused |= _disk.Names.Any(
            n => n.Key.EndsWith(".seg", StringComparison.Ordinal) && ReusedLog.IsReused(n.Value.Cache));
        if (end == End.Orderly && _random.Next(3) == 0 && _ledger.TryDamage(_disk, _random) is { } key)
        {
            _story.Add($"a bit of message {key} rots");
        }

        if (_random.Next(3) != 0)
        {
            _story.Add("power loss");
            _disk.LosePower(_random);
        }
        else
        {
            _story.Add("the machine stays up");
            _disk.EndProcess(evicts: _random.Next(2) == 0);
        }
    }

    private SimulatedServer? Start(FaultPlan plan)
    {
        try
        {
            MailLogOptions sizes = SimulatedServer.Sizes with { Spares = _spares };
            return SimulatedServer.Start(_port!, _accounts, _clock, new Random(_random.Next()), sizes);
        }
        catch (IOException e) when (e is not DamagedLogException && plan.HasFired)
        {
            _story.Add($"did not start: {e.Message}");
            return null;
        }
    }

    private void LiveOn(SimulatedServer server, End end, FaultPlan plan)
    {
        if (!new Postman(server, _ledger, _random).TryInspect() || !_clerk.TryInspect(server))
        {
            _story.Add("ended while its maildrops were read");
            return;
        }

        _story.Add($"{_ledger.Kept} kept, {_clerk.Waiting} to be relayed");
        if (end == End.Orderly)
        {
            _ledger.JudgeScrub(server.Scrub());
        }

        int turns = 1 + _random.Next(6);
        int fault = _random.Next(turns);
        for (int turn = 0; turn < turns && !_port!.IsDown; turn++)
        {
            if (turn == fault)
            {
                ArmTurn(end, plan);
            }

            _clock.Move(TimeSpan.FromMilliseconds(_random.Next(-2_000, 10_000)));
            if (server.IsHeld && _random.Next(8) == 0)
            {
                server.LetItProve();
                _story.Add("proof");
            }

            if (server.IsHeld && _random.Next(3) == 0)
            {
                server.Log.TakeCheckpoint();
                _story.Add("checkpoint");
            }

            if (_random.Next(3) == 0 || (turn == fault && end is End.InReclaimer or End.AfterReclaimError))
            {
                _story.Add(server.Reclaim(_random.Next(2) == 0 ? 0.5 : 0.1, _random.Next(2) == 0));
            }

            Postman postman = new(server, _ledger, _random);
            server.Turn(() =>
            {
                int sent = postman.Send(
                    server.IsHeld ? _random.Next(1, 5) : 1, _longestText, server.IsHeld, _oneInBodies);
                return sent + (server.IsHeld ? _clerk.Send(server) : 0);
            });
            _story.Add(postman.Collect() + _clerk.Collect());
        }
    }

    private void ArmTurn(End end, FaultPlan plan)
    {
        switch (end)
        {
            case End.InAppender:
                plan.EndProcessAfter(DiskLane.Appender, _random.Next(8));
                break;
            case End.WhileNaming:
                // Rare in the sum of calls, and where the log goes from one file to the next.
                DiskVerb verb = _random.Next(2) == 0 ? DiskVerb.Rename : DiskVerb.SyncDirectory;
                plan.EndProcessAfter(DiskLane.Appender, 0, call => call.Verb == verb);
                break;
            case End.InSpareMaker:
                plan.EndProcessAfter(DiskLane.Spare, _random.Next(6));
                break;
            case End.InBodies:
                plan.EndProcessAfter(DiskLane.Bodies, _random.Next(10));
                break;
            case End.AfterBodyError:
                FailAfter(plan, DiskLane.Bodies, 10);
                break;
            case End.AfterAppenderError:
                FailAfter(plan, DiskLane.Appender, 8);
                break;
            case End.InCheckpoint:
                plan.EndProcessAfter(DiskLane.Checkpoint, _random.Next(40));
                break;
            case End.AfterCheckpointError:
                FailAfter(plan, DiskLane.Checkpoint, 40);
                break;
            case End.InReclaimer:
                plan.EndProcessAfter(DiskLane.Reclaimer, _random.Next(80));
                break;
            case End.AfterReclaimError:
                FailAfter(plan, DiskLane.Reclaimer, 80);
                break;
            case End.AfterSpareError:
                FailAfter(plan, DiskLane.Spare, 6);
                break;
            default:
                break;
        }
    }

    private void FailAfter(FaultPlan plan, DiskLane lane, int calls)
    {
        int errno = _random.Next(3) == 0 ? Errno.NoSpace : Errno.InputOutput;
        plan.FailAfter(lane, _random.Next(calls), errno, isForEver: _random.Next(2) == 0);
    }
}
