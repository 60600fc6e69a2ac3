using System.Net.Sockets;

namespace FastMail.Net;

/// <summary>Limits and choices of an <see cref="EventLoop"/>; read once at start, immutable afterwards.</summary>
public sealed class EventLoopOptions
{
    /// <summary>A handler is never called with less room for replies than this.</summary>
    public const int LeastReplyBytes = 2048;

    /// <summary>Pieces of one gathered send: reply ranges and bodies. Far below the system's IOV_MAX of 1,024.</summary>
    internal const int PiecesPerSend = 64;

    /// <summary>After so many handler calls or octets the connection queues up behind the others.</summary>
    internal const int CallsPerTurn = 64;

    internal const int OctetsPerTurn = 64 * 1024;

    /// <summary>Accepts per readiness before the other connections get their turn.</summary>
    internal const int AcceptsPerTurn = 64;

    /// <summary>
    /// One asynchronous send covers at most this much, so that its end shows a slow reader's progress (and renews its
    /// deadline) long before a big body is through.
    /// </summary>
    internal const int AsyncSendBytes = 16 * 1024;

    /// <summary>The most one TLS record carries (RFC 8446 5.1).</summary>
    internal const int RecordBytes = 16 * 1024;

    /// <summary>After so many octets in one go, some 200 us of encryption, the others get their turn.</summary>
    internal const int EncryptedPerTurn = 256 * 1024;

    /// <summary>
    /// After so many octets of records without content, some 1,200 KeyUpdates (RFC 8446 4.6.3), the others get their turn.
    /// Far more than the largest record: a peer that says something never gets there.
    /// </summary>
    internal const int EmptyRecordsPerTurn = 32 * 1024;

    /// <summary>After the last reply this much input is thrown away while the peer reads it.</summary>
    internal const int LingerBytes = 64 * 1024;

    /// <summary>A silent connection is probed after half of the peer timeout, at most so many seconds (tcp(7)).</summary>
    internal const int KeepAliveSeconds = 30;

    /// <summary>And again after a sixth of it, at most so many: the kernel looks at the timeout when it probes.</summary>
    internal const int KeepAliveIntervalSeconds = 10;

    /// <summary>
    /// Descriptors that are left for files, listeners and the runtime's own (about 120 are open in an idle server, and 210
    /// when verbs have been answered), whatever the limit is: without one, loading an assembly ends the process.
    /// </summary>
    internal const int ReservedDescriptors = 112;

    /// <summary>A peer that has sent nothing for so long, in milliseconds, is not about to read a reply late.</summary>
    internal const int IdleMilliseconds = 1000;

    internal static readonly TimeSpan LingerTime = TimeSpan.FromSeconds(2);

    internal static readonly TimeSpan FirstAcceptPause = TimeSpan.FromMilliseconds(100);

    /// <summary>Half of the second in which accepting must go on once there are descriptors again.</summary>
    internal static readonly TimeSpan LongestAcceptPause = TimeSpan.FromMilliseconds(500);

    /// <summary>
    /// Told of every exception that escaped a handler (with its connection, which is then aborted), a posted work or a
    /// timer (null). Called on the loop thread; an exception from here ends the process.
    /// </summary>
    public required Action<Connection?, Exception> Failed { get; init; }

    /// <summary>Null: inline where the runtime does it, otherwise an own thread.</summary>
    public LoopThread? Thread { get; init; }

    /// <summary>Octets of a receive slab and of a reply slab; the longest input a handler can ask to see at once.</summary>
    public int SlabBytes { get; init; } = 16 * 1024;

    /// <summary>Free slabs of each kind that are kept for reuse; 1,024 of 16 KiB are 16 MiB.</summary>
    public int SlabsKept { get; init; } = 1024;

    /// <summary>
    /// Accepted connections open at a time; lowered to 80 % of the descriptors the process may have, or to those that are
    /// free, less what outgoing connections may take.
    /// </summary>
    public int ConnectionCap { get; init; } = 20_000;

    /// <summary>Outgoing connections open at a time, set aside: a flood of clients does not keep mail from leaving.</summary>
    public int OutgoingCap { get; init; } = 512;

    public int Backlog { get; init; } = 4096;

    /// <summary>
    /// A peer that acknowledges nothing for so long is gone (TCP_USER_TIMEOUT): its octets are not resent for ever, and
    /// keep-alive probes find out where there are none.
    /// </summary>
    public TimeSpan PeerTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Who may connect; null lets everybody in who is not over the cap.</summary>
    public IAdmission? Admission { get; init; }

    /// <summary>Stands for a failing accept in tests: running out of descriptors is a matter of the whole process.</summary>
    internal Func<SocketError>? AcceptFault { get; init; }
}
