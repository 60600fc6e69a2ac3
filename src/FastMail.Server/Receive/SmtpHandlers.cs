using FastMail.Net;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Storage;

namespace FastMail.Server.Receive;

/// <summary>The pool of SMTP handlers of one kind of listener. Loop thread only.</summary>
internal sealed class SmtpHandlers : IHandlerFactory
{
    private readonly Stack<SmtpHandler> _idle = new();

    public required EventLoop Loop { get; init; }

    public required MailLog Log { get; init; }

    public required LiveAccounts Accounts { get; init; }

    public required PasswordChecker Passwords { get; init; }

    public required Intake Intake { get; init; }

    public required TimeProvider Clock { get; init; }

    public required SmtpSessionOptions Options { get; init; }

    public ReadOnlyMemory<byte> Refusal { get; } = "421 4.3.2 Too many connections, try again later\r\n"u8.ToArray();

    public IConnectionHandler Rent() => _idle.TryPop(out SmtpHandler? handler) ? handler : new SmtpHandler(this);

    /// <summary>Called by the loop when the connection is over, and by a busy handler when its work has ended.</summary>
    public void Return(IConnectionHandler handler)
    {
        var smtp = (SmtpHandler)handler;
        if (!smtp.IsBusy)
        {
            _idle.Push(smtp);
        }
    }
}
