using FastMail.Server.Defence;
using FastMail.Server.Receive;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace FastMail.Tests.Server.Defence;

public sealed class StressTests
{
    private readonly HandClock _clock = new();
    private readonly Intake _intake;
    private readonly Stress _stress;
    private double _crowd;
    private int _began;

    public StressTests()
    {
        _intake = new Intake(_clock, 1000);
        _stress = new Stress(new StressLimits { FreeBytes = 150 }, _intake, () => _crowd, _clock, NullLogger.Instance);
        _stress.Began += () => _began++;
    }

    [Fact]
    public void Connections_bring_it_at_80_percent_and_take_it_at_60()
    {
        Expect(false, () => _crowd = 0.79);
        Expect(true, () => _crowd = 0.80);
        Expect(true, () => _crowd = 0.60);
        Expect(false, () => _crowd = 0.59);
        Expect(false, () => _crowd = 0.79);
        Assert.Equal(1, _began);
    }

    [Fact]
    public void Content_in_memory_brings_it_too()
    {
        Expect(false, () => _intake.Hold(799));
        Expect(true, () => _intake.Hold(1));
        Expect(true, () => _intake.Release(200));
        Expect(false, () => _intake.Release(1));
    }

    [Fact]
    public void A_log_that_completes_nothing_for_a_second_brings_it_and_one_that_does_does_not()
    {
        _clock.Advance(TimeSpan.FromHours(1)); // with nothing to do
        Expect(false, _stress.CommitBegan);
        Expect(false, () => _clock.Advance(TimeSpan.FromSeconds(0.9)));
        _stress.CommitBegan();
        Expect(false, _stress.CommitEnded);
        Expect(false, () => _clock.Advance(TimeSpan.FromSeconds(0.9)));
        Expect(true, () => _clock.Advance(TimeSpan.FromSeconds(0.1)));
        Expect(false, _stress.CommitEnded);
        Expect(false, () => _clock.Advance(TimeSpan.FromHours(1)));
    }

    [Fact]
    public void A_full_disk_brings_it_until_there_is_a_third_more_room()
    {
        Expect(false, () => _stress.FreeBytes = 151);
        Assert.False(_stress.IsDiskFull);
        Expect(true, () => _stress.FreeBytes = 150);
        Assert.True(_stress.IsDiskFull);
        Expect(true, () => _stress.FreeBytes = 200);
        Expect(false, () => _stress.FreeBytes = 201);
        Assert.False(_stress.IsDiskFull);
        Expect(true, () => _stress.FreeBytes = 0);
    }

    [Fact]
    public void A_wall_clock_that_jumps_changes_nothing()
    {
        _stress.CommitBegan();
        Expect(false, () => _clock.Jump(TimeSpan.FromDays(365)));
        Expect(false, () => _clock.Jump(TimeSpan.FromDays(-730)));
    }

    private void Expect(bool isOn, Action change)
    {
        change();
        Assert.Equal(isOn, _stress.Look());
        Assert.Equal(isOn, _stress.IsOn);
    }
}
