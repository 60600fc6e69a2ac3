using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastMail.LoadTest.Kernel;

/// <summary>
/// One epoll instance, level-triggered, whose events carry an int chosen by the caller. Owned and used by the loop
/// thread alone.
/// </summary>
internal sealed unsafe class Epoll : IDisposable
{
    private const int CloseOnExec = 0x80000;
    private const int Capacity = 256;

    // struct epoll_event is packed on x86-64 only (12 octets, token at 4); elsewhere the token is 8-aligned.
    private static readonly bool IsPacked = RuntimeInformation.ProcessArchitecture == Architecture.X64;
    private static readonly int Stride = IsPacked ? 12 : 16;
    private static readonly int TokenAt = IsPacked ? 4 : 8;

    private readonly int _descriptor;
    private byte* _events;

    /// <exception cref="IOException">The kernel gave no epoll instance.</exception>
    internal Epoll()
    {
        _descriptor = Linux.EpollCreate(CloseOnExec);
        if (_descriptor < 0)
        {
            throw new IOException($"epoll_create1: {Linux.ErrorText(Marshal.GetLastPInvokeError())}");
        }

        _events = (byte*)NativeMemory.AllocZeroed((nuint)(Capacity * Stride));
    }

    internal void Add(int descriptor, uint interest, int token) =>
        Control(Linux.ControlAdd, descriptor, interest, token);

    internal void Modify(int descriptor, uint interest, int token) =>
        Control(Linux.ControlModify, descriptor, interest, token);

    /// <summary>Number of events ready; 0 after a signal, and once it is due, in stopwatch ticks, or in a second.</summary>
    internal int WaitUntil(long due)
    {
        long left = Math.Max(0, due - Stopwatch.GetTimestamp());
        var timeout = new TimeSpecification(TimeSpan.FromSeconds(Math.Min(1, (double)left / Stopwatch.Frequency)));
        int ready = Linux.EpollWait(_descriptor, _events, Capacity, timeout, 0);
        if (ready < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            return errno == Linux.InterruptedError
                ? 0
                : throw new IOException($"epoll_wait: {Linux.ErrorText(errno)}");
        }

        return ready;
    }

    internal uint EventsOf(int index) => Unsafe.ReadUnaligned<uint>(_events + (index * Stride));

    internal int TokenOf(int index) => Unsafe.ReadUnaligned<int>(_events + (index * Stride) + TokenAt);

    public void Dispose()
    {
        if (_events != null)
        {
            NativeMemory.Free(_events);
            _events = null;
            _ = Linux.Close(_descriptor);
        }
    }

    private void Control(int operation, int descriptor, uint interest, int token)
    {
        byte* change = stackalloc byte[16];
        Unsafe.WriteUnaligned(change, interest);
        Unsafe.WriteUnaligned(change + TokenAt, (long)token);
        if (Linux.EpollControl(_descriptor, operation, descriptor, change) < 0)
        {
            throw new IOException($"epoll_ctl: {Linux.ErrorText(Marshal.GetLastPInvokeError())}");
        }
    }
}
