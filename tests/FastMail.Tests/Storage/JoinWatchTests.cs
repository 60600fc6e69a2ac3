using System.Diagnostics;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

public class JoinWatchTests
{
    private static readonly long Microsecond = Stopwatch.Frequency / 1_000_000;

    private readonly JoinWatch _watch = new();
    private long _now = 1_000_000;

    [Fact]
    public void A_single_client_never_waits()
    {
        _watch.Answered(1, 0);
        Assert.False(Begin(1));
    }

    [Fact]
    public void Those_who_waited_do_not_go_without_those_who_were_just_answered()
    {
        _watch.Answered(15, waiting: 5);
        Assert.True(Begin(5));
        Assert.True(Looked(5, afterMicroseconds: 30));
        Assert.True(Looked(12, afterMicroseconds: 30));
        Assert.False(Looked(20, afterMicroseconds: 30));
    }

    [Fact]
    public void It_ends_when_nobody_new_comes()
    {
        _watch.Answered(15, waiting: 5);
        Assert.True(Begin(5));
        Assert.True(Looked(6, afterMicroseconds: 35));
        Assert.True(Looked(6, afterMicroseconds: 35));
        Assert.False(Looked(6, afterMicroseconds: 6));
    }

    [Fact]
    public void Held_open_long_enough_it_ends_with_the_first_look_that_finds_nobody()
    {
        _watch.Answered(1_000, waiting: 0);
        Assert.True(Begin(1));
        for (int records = 2; records <= 7; records++)
        {
            Assert.True(Looked(records, afterMicroseconds: 30));
            Assert.True(Looked(records, afterMicroseconds: 1)); // nobody, but not for 40 us
        }

        Assert.True(Looked(8, afterMicroseconds: 14)); // 200 us
        Assert.False(Looked(8, afterMicroseconds: 1));
    }

    [Fact]
    public void A_group_that_is_not_held_open_ends_with_the_first_look_that_finds_nobody()
    {
        HoldOpenInVain();
        _watch.Answered(5, waiting: 5);
        Assert.False(Begin(5)); // as many as the last time
        _watch.Answered(9, waiting: 5);
        Assert.True(Begin(5));
        Assert.True(Looked(6, afterMicroseconds: 500));
        Assert.False(Looked(6, afterMicroseconds: 0));
    }

    [Fact]
    public void After_groups_held_open_in_vain_fewer_and_fewer_are()
    {
        int[] between = new int[6];
        for (int i = 0; i < between.Length; i++)
        {
            HoldOpenInVain();
            between[i] = CountUnwatched();
        }

        Assert.Equal([4, 8, 16, 32, 64, 64], between);
        Assert.False(Looked(10, afterMicroseconds: 1)); // this one, all have come
        HoldOpenInVain();
        Assert.Equal(4, CountUnwatched());
    }

    private bool Begin(int records)
    {
        return _watch.Begin(records, _now);
    }

    private bool Looked(int records, int afterMicroseconds)
    {
        _now += afterMicroseconds * Microsecond;
        return _watch.Looked(records, _now);
    }

    private void HoldOpenInVain()
    {
        _watch.Answered(5, waiting: 5);
        Assert.True(Begin(5));
        Assert.False(Looked(5, afterMicroseconds: 41));
    }

    /// <summary>Begins groups until one is held open for those who waited, too.</summary>
    private int CountUnwatched()
    {
        for (int groups = 0; ; groups++)
        {
            _watch.Answered(5, waiting: 5);
            if (Begin(5))
            {
                return groups;
            }
        }
    }
}
