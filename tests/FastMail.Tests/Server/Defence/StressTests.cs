using FastMail.Server.Defence;
using FastMail.Server.Receive;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace FastMail.Tests.Server.Defence;

public sealed class StressTests
{
    private readonly Intake _intake;
    private readonly Stress _stress;
    private double _crowd;
    private DiskStrain _disk;
    private int _began;

    public StressTests()
    {
        _intake = new Intake(new HandClock(), 1000);
        _stress = new Stress(new StressLimits(), _intake, () => _crowd, () => _disk, NullLogger.Instance);
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
    public void A_group_that_takes_more_than_a_second_brings_it_until_it_is_on_the_disk()
    {
        Expect(false, () => _disk = new DiskStrain(IsFull: false, TimeSpan.FromSeconds(1)));
        Assert.False(_stress.IsDiskSlow);
        Expect(true, () => _disk = new DiskStrain(IsFull: false, TimeSpan.FromSeconds(1.1)));
        Assert.True(_stress.IsDiskSlow);
        Assert.False(_stress.IsDiskFull);
        Expect(false, () => _disk = default);
        Assert.False(_stress.IsDiskSlow);
    }

    [Fact]
    public void A_full_disk_brings_it_as_long_as_the_log_says_so()
    {
        Expect(true, () => _disk = new DiskStrain(IsFull: true, TimeSpan.Zero));
        Assert.True(_stress.IsDiskFull);
        Assert.False(_stress.IsDiskSlow);
        Expect(false, () => _disk = default);
        Assert.False(_stress.IsDiskFull);
    }

    [Fact]
    public void It_lasts_until_the_last_of_its_reasons_is_over()
    {
        Expect(true, () => _disk = new DiskStrain(IsFull: true, TimeSpan.Zero));
        Expect(true, () => _crowd = 0.7);
        Expect(true, () => _disk = default);
        Assert.False(_stress.IsDiskFull);
        Expect(false, () => _crowd = 0.5);
        Assert.Equal(1, _began);
    }

    private void Expect(bool isOn, Action change)
    {
        change();
        Assert.Equal(isOn, _stress.Look());
        Assert.Equal(isOn, _stress.IsOn);
    }
}
