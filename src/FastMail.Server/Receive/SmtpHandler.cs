using System.Net;
using System.Text;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Server.Tls;

namespace FastMail.Server.Receive;

/// <summary>
/// Joins one connection to one SMTP session. At most one piece of work is out at a time, a commit or a login; the end of
/// a commit is posted to the loop as this object. Pooled by <see cref="SmtpHandlers"/>; loop thread only.
/// </summary>
internal sealed class SmtpHandler : IPooledHandler, ILoopWork
{
    private static readonly TimeSpan CommandTimeout = TimeSpan.FromSeconds(300); // RFC 5321 4.5.3.2.7

    private readonly SmtpHandlers _home;
    private readonly MailReceiver _receiver;
    private readonly SmtpSession _session;
    private readonly Login _login;
    private Connection? _connection;

    public SmtpHandler(SmtpHandlers home)
    {
        _home = home;
        _receiver = new MailReceiver(
            home.Log, home.Accounts, home.Intake, home.Quotas, home.Options.Hostname, home.Clock, home.Loop.Post, this,
            () => home.Loop.Post(this));
        _login = new Login(home.Logins, LoggedIn);
        _session = new SmtpSession(home.Options, _receiver, _login);
    }

    public bool IsBusy => _login.IsBusy || _receiver.IsCommitting || _receiver.IsHeld;

    public void Opened(Connection connection)
    {
        _connection = connection;
        IPAddress client = connection.RemoteEndPoint.Address;
        _receiver.Connect(client);
        _login.Connect(client);
        _session.Reset();
        connection.SetDeadline(CommandTimeout);
    }

    public void Secured(TlsParameters tls) => _session.Secured(ServerTls.FactsOf(tls));

    public Turn Receive(
        ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
    {
        if (!received.IsEmpty)
        {
            _connection!.SetDeadline(CommandTimeout);
        }

        return SessionTurn.Take(_session, received, replies, out consumed, out written, out body);
    }

    public int LastWords(CloseReason reason, Span<byte> replies) =>
        _session.LastWords(reason == CloseReason.Timeout, replies);

    public void Closed()
    {
        _connection = null;
        _login.Disconnect();
        if (!_receiver.IsCommitting)
        {
            _session.Abandon(); // a commit under way is not undone: the client may never hear of it, the mail stays
        }
    }

    /// <summary>The commit that was out has ended, or content can be taken again.</summary>
    public void Run()
    {
        if (_receiver.IsHeld)
        {
            _receiver.EndHold();
            _session.GoOn();
        }
        else
        {
            SmtpReply reply = _receiver.EndCommit();
            if (_connection is not null)
            {
                _session.Committed(reply);
            }
        }

        GoOn();
    }

    private void LoggedIn(AuthVerdict verdict, Account? account)
    {
        if (_connection is not null)
        {
            _session.Authenticated(verdict, account is null ? default : Encoding.UTF8.GetBytes(account.Address));
        }

        GoOn();
    }

    private void GoOn()
    {
        if (_connection is null)
        {
            _home.Return(this);
        }
        else
        {
            _connection.Resume();
        }
    }
}
