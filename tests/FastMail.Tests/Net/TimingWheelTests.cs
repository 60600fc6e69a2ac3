using FastMail.Net;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Net;

public sealed class TimingWheelTests
{
    private readonly TimingWheel _wheel = new();

    [Fact]
    public void A_timer_is_due_at_its_tick_and_only_once()
    {
        LoopTimer timer = Timer();
        _wheel.Arm(timer, 5);
        Assert.Empty(DueAt(4));
        Assert.Same(timer, Assert.Single(DueAt(5)));
        Assert.False(timer.IsArmed);
        Assert.Empty(DueAt(5000));
    }

    [Fact]
    public void A_due_tick_in_the_past_is_the_next_tick()
    {
        DueAt(100);
        LoopTimer timer = Timer();
        _wheel.Arm(timer, 3);
        Assert.Same(timer, Assert.Single(DueAt(101)));
    }

    [Fact]
    public void A_timer_several_rounds_away_waits_them_out()
    {
        LoopTimer timer = Timer();
        _wheel.Arm(timer, 5000);
        for (long tick = 1; tick < 5000; tick++)
        {
            Assert.Empty(DueAt(tick));
        }

        Assert.Single(DueAt(5000));
    }

    [Fact]
    public void Arming_again_moves_and_disarming_takes_out()
    {
        LoopTimer moved = Timer();
        LoopTimer gone = Timer();
        _wheel.Arm(moved, 2);
        _wheel.Arm(gone, 2);
        _wheel.Arm(moved, 7);
        _wheel.Disarm(gone);
        _wheel.Disarm(gone);
        Assert.Equal(1, _wheel.Count);
        Assert.Empty(DueAt(6));
        Assert.Same(moved, Assert.Single(DueAt(7)));
        Assert.Equal(0, _wheel.Count);
    }

    [Fact]
    public void What_runs_may_disarm_another_that_is_due_and_arm_itself()
    {
        LoopTimer first = Timer();
        LoopTimer second = Timer();
        _wheel.Arm(first, 1);
        _wheel.Arm(second, 1);
        _wheel.Advance(1);
        LoopTimer running = _wheel.TakeDue()!;
        LoopTimer other = ReferenceEquals(running, first) ? second : first;
        _wheel.Disarm(other);
        _wheel.Arm(running, 1);
        Assert.Null(_wheel.TakeDue());
        Assert.Same(running, Assert.Single(DueAt(2)));
    }

    [Fact]
    public void Any_sequence_of_arms_disarms_and_steps_is_due_as_a_sorted_list_says()
    {
        Gen<int[]> commands = Gen.Choose(0, 1_000_000).ArrayOf();
        Prop.ForAll(commands.ToArbitrary(), AgreesWithModel).QuickCheckThrowOnFailure();
    }

    /// <summary>Each number is one command for one of eight timers: arm within 3,000 ticks, disarm, or step.</summary>
    private static bool AgreesWithModel(int[] commands)
    {
        TimingWheel wheel = new();
        LoopTimer[] timers = [.. Enumerable.Range(0, 8).Select(_ => Timer())];
        Dictionary<LoopTimer, long> model = [];
        long now = 0;
        foreach (int command in commands)
        {
            LoopTimer timer = timers[command % 8];
            int amount = command / 32 % 3000;
            switch (command / 8 % 4)
            {
                case 0 or 1:
                    wheel.Arm(timer, now + amount);
                    model[timer] = Math.Max(now + amount, now + 1);
                    break;
                case 2:
                    wheel.Disarm(timer);
                    model.Remove(timer);
                    break;
                default:
                    now += amount % 1500;
                    wheel.Advance(now);
                    HashSet<LoopTimer> due = [.. model.Where(entry => entry.Value <= now).Select(entry => entry.Key)];
                    while (wheel.TakeDue() is { } fired)
                    {
                        if (!due.Remove(fired) || !model.Remove(fired))
                        {
                            return false;
                        }
                    }

                    if (due.Count != 0)
                    {
                        return false;
                    }

                    break;
            }

            if (wheel.Count != model.Count || timers.Any(t => t.IsArmed != model.ContainsKey(t)))
            {
                return false;
            }
        }

        return true;
    }

    private static LoopTimer Timer() => new(new Nothing());

    private List<LoopTimer> DueAt(long tick)
    {
        List<LoopTimer> due = [];
        _wheel.Advance(tick);
        while (_wheel.TakeDue() is { } timer)
        {
            due.Add(timer);
        }

        return due;
    }

    private sealed class Nothing : ILoopWork
    {
        public void Run()
        {
            // The wheel hands timers out; whether they run is the loop's business.
        }
    }
}
