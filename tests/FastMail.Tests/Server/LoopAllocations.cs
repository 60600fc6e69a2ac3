using FastMail.Net;
using Xunit;

namespace FastMail.Tests.Server;

/// <summary>Reads how many bytes the loop's thread has allocated so far. Made by a test, run by the loop.</summary>
internal sealed class LoopAllocations : ILoopWork, IDisposable
{
    private readonly ManualResetEventSlim _done = new();
    private long _bytes;

    private LoopAllocations()
    {
    }

    public static long Read(EventLoop loop)
    {
        using var probe = new LoopAllocations();
        loop.Post(probe);
        Assert.True(probe._done.Wait(TimeSpan.FromSeconds(30)));
        return probe._bytes;
    }

    public void Run()
    {
        _bytes = GC.GetAllocatedBytesForCurrentThread();
        _done.Set();
    }

    public void Dispose() => _done.Dispose();
}
