using System.Net.Sockets;

namespace FastMail.Net;

/// <summary>Which thread runs the loop.</summary>
public enum LoopThread
{
    /// <summary>The runtime's poll thread: completions run where the readiness was seen. Half the CPU a turn.</summary>
    Inline,

    /// <summary>A thread of its own; completions come in through a queue.</summary>
    Own,
}

/// <summary>
/// Finds out where the runtime runs completions. The switch is internal to the runtime and silently ignored when it is
/// set too late, so it is tried rather than trusted. Lives for one call, on the thread that starts the loop.
/// </summary>
internal static class InlineProbe
{
    private const string InlineSwitch = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS";
    private const string EnginesSwitch = "DOTNET_SYSTEM_NET_SOCKETS_THREAD_COUNT";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    internal static void SetSwitches()
    {
        SetUnlessSet(InlineSwitch);
        SetUnlessSet(EnginesSwitch);
    }

    /// <summary>
    /// The id of the one poll thread when completions run inline on it; 0 when they run on the pool or when several
    /// poll threads share the sockets.
    /// </summary>
    internal static int PollThreadId()
    {
        int first = CompletionThreadId();
        return first != 0 && CompletionThreadId() == first ? first : 0;
    }

    private static void SetUnlessSet(string name)
    {
        if (Environment.GetEnvironmentVariable(name) is null)
        {
            Environment.SetEnvironmentVariable(name, "1");
        }
    }

    private static unsafe int CompletionThreadId()
    {
        (int left, int right) = Native.SocketPair();
        using Socket near = new(new SafeSocketHandle(left, ownsHandle: true));
        using Socket far = new(new SafeSocketHandle(right, ownsHandle: true));
        using ManualResetEventSlim done = new();
        using SocketAsyncEventArgs args = new(true);
        int thread = 0;
        args.SetBuffer(new byte[1], 0, 1);
        args.Completed += (_, _) =>
        {
            thread = Thread.CurrentThread.IsThreadPoolThread ? 0 : Environment.CurrentManagedThreadId;
            done.Set();
        };

        bool isPending = near.ReceiveAsync(args);
        byte octet = 1;
        if (!isPending || Native.Send(right, &octet, 1, Native.DontWait | Native.NoSignal) != 1 || !done.Wait(Patience))
        {
            throw new InvalidOperationException("A socket pair did not complete a receive: sockets are not usable here.");
        }

        return thread;
    }
}
