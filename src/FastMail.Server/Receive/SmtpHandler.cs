using System.Buffers;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;

namespace FastMail.Server.Receive;

/// <summary>
/// Joins one connection to one SMTP session. At most one piece of work is out at a time (a commit or a password check);
/// its end is posted to the loop as this object. Pooled by <see cref="SmtpHandlers"/>; loop thread only.
/// </summary>
internal sealed class SmtpHandler : IPooledHandler, IAuthenticator, ILoopWork
{
    private static readonly TimeSpan CommandTimeout = TimeSpan.FromSeconds(300); // RFC 5321 4.5.3.2.7

    private readonly SmtpHandlers _home;
    private readonly MailReceiver _receiver;
    private readonly SmtpSession _session;
    private readonly PasswordCheck _check;
    private Connection? _connection;
    private bool _isChecking;

    public SmtpHandler(SmtpHandlers home)
    {
        _home = home;
        _receiver = new MailReceiver(home.Log, home.Accounts, home.Intake, home.Options.Hostname, home.Clock, this);
        _session = new SmtpSession(home.Options, _receiver, this);
        _check = new PasswordCheck(_ => _home.Loop.Post(this));
    }

    public bool IsBusy => _isChecking || _receiver.IsCommitting;

    public void Opened(Connection connection)
    {
        _connection = connection;
        _receiver.Connect(connection.RemoteEndPoint.Address);
        _session.Reset();
        connection.SetDeadline(CommandTimeout);
    }

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
        if (!_receiver.IsCommitting)
        {
            _session.Abandon(); // a commit under way is not undone: the client may never hear of it, the mail stays
        }
    }

    public bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password)
    {
        _isChecking = _home.Passwords.TryBegin(_check, identity, password);
        return _isChecking;
    }

    /// <summary>The work that was out has ended.</summary>
    public void Run()
    {
        if (_isChecking)
        {
            _isChecking = false;
            bool isProven = _check.Proven is not null;
            _check.Clear();
            if (_connection is not null)
            {
                _session.Authenticated(isProven ? AuthVerdict.Accepted : AuthVerdict.Rejected);
            }
        }
        else
        {
            SmtpReply reply = _receiver.EndCommit();
            if (_connection is not null)
            {
                _session.Committed(reply);
            }
        }

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
