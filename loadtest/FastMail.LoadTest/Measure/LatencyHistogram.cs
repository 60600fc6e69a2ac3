using System.Numerics;

namespace FastMail.LoadTest.Measure;

/// <summary>
/// Log-linear histogram of nanoseconds: exact below 64, then 64 steps per doubling, so a percentile is off by less
/// than 1/64 of itself. Owned by one thread; threads that measure apart are added up afterwards.
/// </summary>
internal sealed class LatencyHistogram
{
    private const int StepBits = 6;
    private const int Steps = 1 << StepBits;

    private readonly long[] _counts = new long[Steps * (65 - StepBits)];

    internal long Count { get; private set; }

    internal long MaxNanoseconds { get; private set; }

    internal void Record(long nanoseconds)
    {
        long value = Math.Max(0, nanoseconds);
        _counts[BucketOf(value)]++;
        Count++;
        MaxNanoseconds = Math.Max(MaxNanoseconds, value);
    }

    internal void Add(LatencyHistogram other)
    {
        for (int i = 0; i < _counts.Length; i++)
        {
            _counts[i] += other._counts[i];
        }

        Count += other.Count;
        MaxNanoseconds = Math.Max(MaxNanoseconds, other.MaxNanoseconds);
    }

    /// <summary>
    /// Middle of the bucket that holds the smallest value with at least <paramref name="share"/> (0..1] of all values
    /// at or below it; never above the maximum; 0 when nothing was recorded.
    /// </summary>
    internal long Percentile(double share)
    {
        long wanted = Math.Max(1, (long)Math.Ceiling(share * Count));
        long seen = 0;
        for (int i = 0; i < _counts.Length && Count > 0; i++)
        {
            seen += _counts[i];
            if (seen >= wanted)
            {
                return Math.Min(MaxNanoseconds, MiddleOf(i));
            }
        }

        return 0;
    }

    internal static int BucketOf(long value)
    {
        if (value < Steps)
        {
            return (int)value;
        }

        int exponent = BitOperations.Log2((ulong)value);
        return ((exponent - StepBits + 1) * Steps) + (int)((value >> (exponent - StepBits)) & (Steps - 1));
    }

    internal static long LowestOf(int bucket)
    {
        if (bucket < Steps)
        {
            return bucket;
        }

        int shift = (bucket / Steps) - 1;
        return (long)(Steps + (bucket % Steps)) << shift;
    }

    private static long MiddleOf(int bucket) =>
        bucket < 2 * Steps ? LowestOf(bucket) : LowestOf(bucket) + (1L << ((bucket / Steps) - 2));
}
