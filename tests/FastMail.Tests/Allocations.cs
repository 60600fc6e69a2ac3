using Xunit;

namespace FastMail.Tests;

/// <summary>
/// Allocation tests run alone. A collection that another test sets off retires the unused rest of a thread's buffer
/// and counts it as allocated, and the poll thread may serve the test host's sockets as well.
/// </summary>
[CollectionDefinition(nameof(Allocations), DisableParallelization = true)]
public sealed class Allocations
{
    /// <summary>
    /// The least that any of some windows of the same work allocated, in bytes: what the work itself allocates is in
    /// every window, what something else did is not.
    /// </summary>
    public static long Least(int windows, Func<long> allocated, Action work)
    {
        long least = long.MaxValue;
        for (int window = 0; window < windows && least > 0; window++)
        {
            long before = allocated();
            work();
            least = Math.Min(least, allocated() - before);
        }

        return least;
    }
}
