using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace FastMail.Net;

/// <summary>
/// The few Linux calls the base library does not offer in the form the loop needs: one gathered send for a whole turn
/// and receives that never block. Stateless. Layouts and numbers are those of 64-bit Linux (x64 and arm64 agree).
/// </summary>
internal static unsafe partial class Native
{
    internal const int DontWait = 0x40; // MSG_DONTWAIT
    internal const int NoSignal = 0x4000; // MSG_NOSIGNAL: a reset peer is an error here, not a SIGPIPE
    internal const int Truncate = 0x20; // MSG_TRUNC: on TCP, throw the octets away without copying them (tcp(7))
    internal const int ShutdownSend = 1; // SHUT_WR

    internal const int TcpLevel = 6; // IPPROTO_TCP
    internal const int TcpUserTimeout = 18; // TCP_USER_TIMEOUT
    internal const int TcpInfo = 11; // TCP_INFO
    internal const int LastDataReceivedAt = 52; // of tcpi_last_data_recv in struct tcp_info, milliseconds ago

    internal const int Interrupted = 4; // EINTR
    internal const int WouldBlock = 11; // EAGAIN
    internal const int BrokenPipe = 32; // EPIPE
    internal const int ProtocolError = 71; // EPROTO

    private const int UnixFamily = 1; // AF_UNIX
    private const int StreamCloseOnExec = 1 | 0x80000; // SOCK_STREAM | SOCK_CLOEXEC
    private const int OpenFiles = 7; // RLIMIT_NOFILE

    [StructLayout(LayoutKind.Sequential)]
    internal struct IoVector
    {
        public byte* Start;
        public nuint Length;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct MessageHeader
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ResourceLimit
    {
        public ulong Soft;
        public ulong Hard;
    }

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    internal static partial nint SendMessage(int socket, MessageHeader* message, int flags);

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    internal static partial nint Send(int socket, byte* start, nuint length, int flags);

    /// <summary>For the doorbell, which may be closed while another thread rings it.</summary>
    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    internal static partial nint Ring(SafeSocketHandle socket, byte* start, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    internal static partial nint Receive(int socket, byte* start, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "shutdown", SetLastError = true)]
    internal static partial int Shutdown(int socket, int how);

    [LibraryImport("libc", EntryPoint = "socketpair", SetLastError = true)]
    private static partial int SocketPair(int family, int type, int protocol, int* pair);

    [LibraryImport("libc", EntryPoint = "getrlimit", SetLastError = true)]
    private static partial int GetResourceLimit(int resource, ResourceLimit* limit);

    /// <summary>Two connected stream sockets that no other process can reach.</summary>
    /// <exception cref="InvalidOperationException">The system refused (no descriptors left, for instance).</exception>
    internal static (int Left, int Right) SocketPair()
    {
        int* pair = stackalloc int[2];
        if (SocketPair(UnixFamily, StreamCloseOnExec, 0, pair) != 0)
        {
            throw new InvalidOperationException($"socketpair failed, errno {Marshal.GetLastPInvokeError()}");
        }

        return (pair[0], pair[1]);
    }

    /// <summary>The soft limit on open descriptors; the runtime has already raised it to the hard one.</summary>
    internal static long OpenFilesLimit()
    {
        ResourceLimit limit;
        if (GetResourceLimit(OpenFiles, &limit) != 0)
        {
            throw new InvalidOperationException($"getrlimit failed, errno {Marshal.GetLastPInvokeError()}");
        }

        return limit.Soft > long.MaxValue ? long.MaxValue : (long)limit.Soft;
    }
}
