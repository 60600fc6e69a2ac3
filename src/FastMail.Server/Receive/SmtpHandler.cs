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
/// a commit is posted to the loop as this object. Pooled by <see cref="SmtpHandlers"/>; loop thread only.
/// </summary>
internal sealed class SmtpHandler : IPooledHandler, ILoopWork
{
    private readonly SmtpHandlers _home;
    private readonly MailReceiver _receiver;
    private readonly SmtpSession _session;
    private readonly WatchedCommit _commit;
    private readonly Login _login;
    private readonly SessionPacing _pacing;
    private Connection? _connection;

    public SmtpHandler(SmtpHandlers home)
    {
        _home = home;
        _receiver = new MailReceiver(
            home.Log, home.Accounts, home.Intake, home.Quotas, home.Policy.Stress, home.Options.Hostname, home.Clock,
            home.Loop.Post, this,
            () => home.Loop.Post(this))
        {
            AnswersEachRecipient = home.Options.Role == SmtpRole.Lmtp,
            Relay = home.Relay,
            LocalAddress = () => _connection!.LocalEndPoint?.Address,
        };
        _commit = new WatchedCommit(CommitOverdue);
        _login = new Login(home.Logins, LoggedIn);
        _session = new SmtpSession(home.Options, _receiver, _login);
        _pacing = new SessionPacing(home.Policy, _session.EndPause);
    }

    public bool IsBusy => _login.IsBusy || _receiver.IsCommitting || _receiver.IsSettling || _receiver.IsHeld;

    public void Opened(Connection connection)
    {
        _connection = connection;
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

        if (_receiver.IsCommitting && !_commit.IsWatched)
        {
            _home.Commits.Add(_commit);
        }

        if (_session.Pause > TimeSpan.Zero)
        {
            _pacing.Pause(_session.Pause);
        }

        return turn;
    }

    public void Hurry() => _pacing.Hurry(_home.Policy.CommandTime);

    public int LastWords(CloseReason reason, Span<byte> replies) =>
        _session.LastWords(reason == CloseReason.Timeout, replies);

    public void Closed()
    {
        _pacing.End();
        _connection = null;
        _login.Disconnect();
        _receiver.Inquiry?.Drop();
        _receiver.Inquiry = null;
        if (!_receiver.IsCommitting)
        {
            _session.Abandon(); // a commit under way is not undone: the client may never hear of it, the mail stays
        }
    }

    /// <summary>The commit that was out has ended, or content can be taken again.</summary>
    public void Run()
    {
        if (_receiver.IsSettling)
        {
            _receiver.EndSettling(); // the client has its answer
            if (_connection is null)
            {
                _home.Return(this);
            }

            return;
        }

        if (_receiver.IsHeld)
        {
            _receiver.EndHold();
            _session.GoOn();
        }
        else
        {
            _home.Commits.Remove(_commit);
            SmtpReply reply = _receiver.EndCommit();
            if (_connection is not null)
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
        _receiver.Connect(connection.IsLocal ? null : client);
        _login.Connect(client);
        bool isExempt = connection.IsLocal || _home.Policy.IsExempt(client); // who may open the socket is let in already
        _session.HasPauses = !isExempt;
        _receiver.Inquiry?.Drop();
        _receiver.Inquiry = isExempt ? null : _home.Blocklists?.Ask(client, ClientJudged); // while the dialog goes on
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
        if (_receiver.TryGiveUp() && _connection is not null)
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
