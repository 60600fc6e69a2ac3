using FastMail.Net;
using FastMail.Protocol.Pop3;
using FastMail.Server.Accounts;
using FastMail.Server.Defence;
using FastMail.Server.Retention;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Pop3;

/// <summary>The pool of POP3 handlers of one kind of listener. Loop thread only.</summary>
internal sealed class Pop3Handlers : HandlerPool<Pop3Handler>
{
    public required EventLoop Loop { get; init; }

    public required MailLog Log { get; init; }

    public required CommitWatch Commits { get; init; }

    public required Logins Logins { get; init; }

    public required MaildropLocks Locks { get; init; }

    public required SessionPolicy Policy { get; init; }

    public required RetentionPolicy Retention { get; init; }

    /// <summary>Shared by the pools of all listeners.</summary>
    public required UnreadableMessages Unreadable { get; init; }

    public required ILogger Logger { get; init; }

    public required LoginDelays Delays { get; init; }

    /// <summary>How long a login waits for a maildrop that is open elsewhere.</summary>
    public required TimeSpan LockWait { get; init; }

    /// <summary>Sessions of one user that have the maildrop open or wait for it.</summary>
    public required int SessionsPerUser { get; init; }

    public required Pop3SessionOptions Options { get; init; }

    public override ReadOnlyMemory<byte> Refusal { get; } = "-ERR [SYS/TEMP] too many connections, try again later\r\n"u8.ToArray();

    public override ReadOnlyMemory<byte> ClientRefusal { get; } =
        "-ERR [SYS/TEMP] too many connections from your address, try again later\r\n"u8.ToArray();

    protected override Pop3Handler Make() => new(this);
}
