using FastMail.LoadTest.Measure;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>Percentiles of the histogram against those of the sorted values.</summary>
public sealed class LatencyHistogramTests
{
    [Fact]
    public void Each_bucket_begins_where_the_one_before_ends()
    {
        for (int bucket = 1; bucket < 64 * 50; bucket++)
        {
            long lowest = LatencyHistogram.LowestOf(bucket);
            Assert.Equal(bucket, LatencyHistogram.BucketOf(lowest));
            Assert.Equal(bucket - 1, LatencyHistogram.BucketOf(lowest - 1));
        }
    }

    [Fact]
    public void A_percentile_is_off_by_less_than_a_64th()
    {
        Prop.ForAll<long[], int>((values, percent) =>
        {
            long[] sorted = [.. values.Select(value => Math.Abs(value % 10_000_000_000)).Order()];
            double share = ((Math.Abs(percent % 100)) + 1) / 100.0;
            if (sorted.Length == 0)
            {
                return true;
            }

            var histogram = new LatencyHistogram();
            foreach (long value in sorted)
            {
                histogram.Record(value);
            }

            long exact = sorted[(int)Math.Ceiling(share * sorted.Length) - 1];
            return Math.Abs(histogram.Percentile(share) - exact) <= exact / 64.0;
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void The_largest_value_is_exact_and_no_percentile_exceeds_it()
    {
        var histogram = new LatencyHistogram();
        histogram.Record(1_000_001);
        Assert.Equal(1_000_001, histogram.MaxNanoseconds);
        Assert.True(histogram.Percentile(1) <= 1_000_001);
        histogram.Record(long.MaxValue);
        Assert.Equal(long.MaxValue, histogram.MaxNanoseconds);
    }

    [Fact]
    public void An_empty_histogram_tells_zero()
    {
        Assert.Equal(0, new LatencyHistogram().Percentile(0.99));
    }

    [Fact]
    public void Adding_two_gives_what_one_would_have_recorded()
    {
        var first = new LatencyHistogram();
        var second = new LatencyHistogram();
        var both = new LatencyHistogram();
        for (int i = 0; i < 1000; i++)
        {
            (i % 3 == 0 ? first : second).Record(i * 977L);
            both.Record(i * 977L);
        }

        first.Add(second);
        Assert.Equal(both.Count, first.Count);
        Assert.Equal(both.MaxNanoseconds, first.MaxNanoseconds);
        for (double share = 0.01; share <= 1; share += 0.01)
        {
            Assert.Equal(both.Percentile(share), first.Percentile(share));
        }
    }
}
