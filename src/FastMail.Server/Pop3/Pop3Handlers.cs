using FastMail.Net;
using FastMail.Protocol.Pop3;
using FastMail.Server.Accounts;
using FastMail.Storage;

namespace FastMail.Server.Pop3;

/// <summary>The pool of POP3 handlers of one kind of listener. Loop thread only.</summary>
internal sealed class Pop3Handlers : IHandlerFactory
{
    private readonly Stack<Pop3Handler> _idle = new();

    public required EventLoop Loop { get; init; }

    public required MailLog Log { get; init; }

    public required PasswordChecker Passwords { get; init; }

    public required MaildropLocks Locks { get; init; }

    public required Pop3SessionOptions Options { get; init; }

    public ReadOnlyMemory<byte> Refusal { get; } = "-ERR [SYS/TEMP] too many connections, try again later\r\n"u8.ToArray();

    public IConnectionHandler Rent() => _idle.TryPop(out Pop3Handler? handler) ? handler : new Pop3Handler(this);

    /// <summary>Called by the loop when the connection is over, and by a busy handler when its work has ended.</summary>
    public void Return(IConnectionHandler handler)
    {
        var pop3 = (Pop3Handler)handler;
        if (!pop3.IsBusy)
        {
            _idle.Push(pop3);
        }
    }
}
