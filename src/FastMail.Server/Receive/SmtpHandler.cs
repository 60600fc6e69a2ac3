using System.Net;
using System.Text;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Server.Defence;
using FastMail.Server.Tls;

namespace FastMail.Server.Receive;

/// <summary>
/// Joins one connection to one SMTP session. At most one piece of work is out at a time, a commit or a login; the end of
/// a commit is told by <see cref="Settled"/>. Pooled by <see cref="SmtpHandlers"/>; loop thread only.
/// </summary>
internal sealed partial class SmtpHandler : IPooledHandler, ILoginOwner
{
    private readonly SmtpHandlers _home;
    private readonly SmtpSession _session;
    private readonly Login? _login; // where nobody can log in there is none
    private readonly SessionPacing _pacing;
    private WatchedCommit? _commit; // made by the first one
    private Connection? _connection;
    private Account? _account; // as it was when it logged in; null where nobody has

    public SmtpHandler(SmtpHandlers home)
    {
        _home = home;
        _login = home.Options.Role == SmtpRole.Submission ? new Login(home.Logins, this) : null;
        _session = new SmtpSession(home.Options, this, _login is null ? NoLogins.Instance : _login);
        _pacing = new SessionPacing(home.Policy, _session);
    }

    public int Place { get; set; }

    public bool IsBusy => _login is { IsBusy: true } || _seat is { IsBusy: true };

    public void Opened(Connection connection)
    {
        _connection = connection;
        _account = null;
        _session.Reset();
        if (_home.Xclient.Contains(connection.RemoteEndPoint.Address))
        {
            _session.Declaration = Declare;
        }

        Meet(connection);
        if (_session.HasPauses)
        {
            _session.PauseBeforeGreeting();
        }

        _home.Policy.Stress.Look();
    }

    public void Secured(TlsParameters tls) => _session.Secured(ServerTls.FactsOf(tls));

    public Turn Receive(
        ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
    {
        Turn turn = SessionTurn.Take(
            _session, _home.Policy, received, replies, out consumed, out written, out body);
        if (_session.IsInContent)
        {
            _pacing.TookContent(consumed, _home.Policy.Times.Command);
            if (turn == Turn.Wait)
            {
                _pacing.RestartContent(); // the log does not keep up: that is our time, not the client's
            }
        }
        else
        {
            _pacing.TookCommands(written, _home.Policy.CommandTime);
        }

        if (_seat is { Receiver.IsCommitting: true } && _commit is not { IsWatched: true })
        {
            _home.Commits.Add(_commit ??= new WatchedCommit(CommitOverdue));
        }

        if (_session.Pause > TimeSpan.Zero)
        {
            _pacing.Pause(_session.Pause);
        }

        LeaveSeat();
        return turn;
    }

    public void Hurry() => _pacing.Hurry(_home.Policy.CommandTime);

    public int LastWords(CloseReason reason, Span<byte> replies) =>
        _session.LastWords(reason == CloseReason.Timeout, replies);

    public void Closed()
    {
        _pacing.End();
        _connection = null;
        _login?.Disconnect();
        _inquiry?.Drop();
        _inquiry = null;
        if (_seat is not { Receiver.IsCommitting: true })
        {
            _session.Abandon(); // a commit under way is not undone: the client may never hear of it, the mail stays
        }

        LeaveSeat();
    }

    /// <summary>The commit that was out has ended, or content can be taken again.</summary>
    public void Settled()
    {
        MailReceiver receiver = _seat!.Receiver;
        if (receiver.IsSettling)
        {
            receiver.EndSettling(); // the client has its answer
            LeaveSeat();
            if (_connection is null)
            {
                _home.Return(this);
            }

            return;
        }

        if (receiver.IsHeld)
        {
            receiver.EndHold();
            _session.GoOn();
        }
        else
        {
            _home.Commits.Remove(_commit);
            SmtpReply reply = receiver.EndCommit();
            if (_connection is null)
            {
                _session.Abandon(); // nobody hears it
            }
            else
            {
                _session.Committed(reply);
            }
        }

        GoOn();
    }

    /// <summary>Whose commands come now: they are limited, traced and let in by that.</summary>
    private void Meet(Connection connection)
    {
        IPAddress client = connection.RemoteEndPoint.Address;
        _login?.Connect(client);
        bool isExempt = connection.IsLocal || _home.Policy.IsExempt(client); // who may open the socket is let in already
        _session.HasPauses = !isExempt;
        _inquiry?.Drop();
        _inquiry = isExempt ? null : _home.Blocklists?.Ask(client, ClientJudged); // while the dialog goes on
        _pacing.Begin(connection, isExempt, _home.Policy.CommandTime);
    }

    /// <summary>XCLIENT: the peer speaks for this client.</summary>
    private bool Declare(ReadOnlySpan<byte> address, int port)
    {
        Connection connection = _connection!;
        if (address.IsEmpty)
        {
            return true;
        }

        var client = new IPAddress(address);
        client = client.IsIPv4MappedToIPv6 ? client.MapToIPv4() : client; // one client, one address
        if (!connection.TryDeclareClient(new IPEndPoint(client, port)))
        {
            return false;
        }

        Meet(connection);
        return true;
    }

    /// <summary>The deadline of the commit has passed.</summary>
    private void CommitOverdue()
    {
        if (_seat!.Receiver.TryGiveUp() && _connection is not null)
        {
            _session.Committed(SmtpReply.CommitTimedOut);
            _connection.Resume();
        }
    }

    /// <summary>The blocklists have answered; the session waits for it only if RCPT has come already.</summary>
    private void ClientJudged()
    {
        _session.GoOn();
        _connection!.Resume();
    }

    void ILoginOwner.LoggedIn(AuthVerdict verdict, Account? account)
    {
        if (_connection is not null)
        {
            _account = account;
            _session.Authenticated(verdict, account is null ? default : Encoding.UTF8.GetBytes(account.Address));
        }

        GoOn();
    }

    private void GoOn()
    {
        if (_connection is null)
        {
            LeaveSeat();
            _home.Return(this);
        }
        else
        {
            _connection.Resume();
        }
    }
}
