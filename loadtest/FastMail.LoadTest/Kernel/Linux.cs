using System.Runtime.InteropServices;

namespace FastMail.LoadTest.Kernel;

/// <summary>
/// The Linux calls of the event loop, as the manual pages give them: -1 is failure, errno by
/// <see cref="Marshal.GetLastPInvokeError"/>. Stateless; any thread.
/// </summary>
internal static unsafe partial class Linux
{
    internal const int AgainError = 11;
    internal const int InterruptedError = 4;
    internal const int InProgressError = 115;
    internal const int ProtocolError = 71;
    private const int OutOfMemoryError = 12;
    private const int TooManyInSystemError = 23;
    private const int TooManyInProcessError = 24;
    private const int OutOfBuffersError = 105;

    internal const uint PollIn = 0x1;
    internal const uint PollOut = 0x4;

    internal const uint PollHangUp = 0x10;

    internal const int ControlAdd = 1;
    internal const int ControlModify = 3;

    private const int StreamSocket = 1;
    private const int NonBlocking = 0x800;
    private const int CloseOnExec = 0x80000;
    private const int SocketLevel = 1;
    private const int ReuseAddress = 2;
    private const int Backlog = 4096;
    private const int TcpLevel = 6;
    private const int TcpNoDelay = 1;

    /// <summary>Nothing is wrong with the call: descriptors or memory are all in use just now.</summary>
    internal static bool IsExhausted(int errno) =>
        errno is TooManyInProcessError or TooManyInSystemError or OutOfMemoryError or OutOfBuffersError;

    internal static string ErrorText(int errno) => Marshal.GetPInvokeErrorMessage(errno);

    /// <summary>A non-blocking TCP socket without Nagle's delay, or -1.</summary>
    internal static int OpenSocket(int family)
    {
        int descriptor = Socket(family, StreamSocket | NonBlocking | CloseOnExec, 0);
        if (descriptor >= 0)
        {
            int on = 1;
            _ = SetSocketOption(descriptor, TcpLevel, TcpNoDelay, &on, sizeof(int)); // only costs speed if refused
        }

        return descriptor;
    }

    /// <summary>A non-blocking TCP socket that listens at this address, or -1.</summary>
    internal static int OpenListener(int family, ReadOnlySpan<byte> socketAddress)
    {
        int descriptor = Socket(family, StreamSocket | NonBlocking | CloseOnExec, 0);
        if (descriptor < 0)
        {
            return descriptor;
        }

        int on = 1;
        fixed (byte* address = socketAddress)
        {
            if (SetSocketOption(descriptor, SocketLevel, ReuseAddress, &on, sizeof(int)) == 0
                && Bind(descriptor, address, (uint)socketAddress.Length) == 0
                && Listen(descriptor, Backlog) == 0)
            {
                return descriptor;
            }
        }

        int errno = Marshal.GetLastPInvokeError();
        _ = Close(descriptor);
        Marshal.SetLastPInvokeError(errno);
        return -1;
    }

    /// <summary>The next connection, non-blocking and without Nagle's delay, or -1.</summary>
    internal static int Accept(int listener)
    {
        int descriptor = Accept(listener, null, null, NonBlocking | CloseOnExec);
        if (descriptor >= 0)
        {
            int on = 1;
            _ = SetSocketOption(descriptor, TcpLevel, TcpNoDelay, &on, sizeof(int)); // only costs speed if refused
        }

        return descriptor;
    }

    /// <summary>The port a socket is bound to.</summary>
    internal static int PortOf(int descriptor)
    {
        const int Longest = 28; // sockaddr_in6; the port is the same two octets in both
        byte* address = stackalloc byte[Longest];
        uint bytes = Longest;
        return GetSocketName(descriptor, address, &bytes) < 0
            ? throw new IOException($"getsockname: {ErrorText(Marshal.GetLastPInvokeError())}")
            : (address[2] << 8) | address[3];
    }

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    internal static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    internal static partial int EpollControl(int epoll, int operation, int descriptor, byte* oneEvent);

    /// <summary>Linux 5.11 and later. The signal mask is left as it is.</summary>
    [LibraryImport("libc", EntryPoint = "epoll_pwait2", SetLastError = true)]
    internal static partial int EpollWait(
        int epoll, byte* events, int capacity, in TimeSpecification timeout, nint signalMask);

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    internal static partial int Connect(int descriptor, byte* address, uint addressBytes);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    internal static partial nint Read(int descriptor, byte* buffer, nint bytes);

    [LibraryImport("libc", EntryPoint = "writev", SetLastError = true)]
    internal static partial nint WriteVectors(int descriptor, IoVector* vectors, int count);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    internal static partial nint Write(int descriptor, byte* buffer, nint bytes);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    internal static partial int Close(int descriptor);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    private static partial int Bind(int descriptor, byte* address, uint addressBytes);

    [LibraryImport("libc", EntryPoint = "listen", SetLastError = true)]
    private static partial int Listen(int descriptor, int backlog);

    [LibraryImport("libc", EntryPoint = "accept4", SetLastError = true)]
    private static partial int Accept(int descriptor, byte* address, uint* addressBytes, int flags);

    [LibraryImport("libc", EntryPoint = "getsockname", SetLastError = true)]
    private static partial int GetSocketName(int descriptor, byte* address, uint* addressBytes);

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int Socket(int family, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    private static partial int SetSocketOption(int descriptor, int level, int name, int* value, uint valueBytes);
}

/// <summary>struct iovec of readv(2); the memory it names must be pinned or native.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct IoVector(byte* start, nint length)
{
    internal byte* Start = start;
    internal nint Length = length;
}

/// <summary>struct timespec.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct TimeSpecification(TimeSpan time)
{
    internal readonly long Seconds = time.Ticks / TimeSpan.TicksPerSecond;
    internal readonly long Nanoseconds = time.Ticks % TimeSpan.TicksPerSecond * TimeSpan.NanosecondsPerTick;
}
