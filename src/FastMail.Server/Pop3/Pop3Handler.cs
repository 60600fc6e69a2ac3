using FastMail.Net;
using FastMail.Protocol.Pop3;
using FastMail.Server.Accounts;

namespace FastMail.Server.Pop3;

/// <summary>
/// Joins one connection to one POP3 session: logs in, locks the maildrop, carries removals out. At most one piece of
/// work is out at a time; its end is posted to the loop as this object. Pooled by <see cref="Pop3Handlers"/>; loop
/// thread only.
/// </summary>
internal sealed class Pop3Handler : IPooledHandler, IMaildropSource, ILoopWork
{
    private static readonly TimeSpan LoginTimeout = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan IdleTimeout = TimeSpan.FromMinutes(10); // RFC 1939 3: no less

    private readonly Pop3Handlers _home;
    private readonly Pop3Session _session;
    private readonly PasswordCheck _check;
    private Connection? _connection;
    private LockedMaildrop? _maildrop;
    private bool _isChecking;

    public Pop3Handler(Pop3Handlers home)
    {
        _home = home;
        _session = new Pop3Session(home.Options, this);
        _check = new PasswordCheck(_ => _home.Loop.Post(this));
    }

    public bool IsBusy => _isChecking || _maildrop is { IsRemoving: true };

    public void Opened(Connection connection)
    {
        _connection = connection;
        _session.Reset();
        connection.SetDeadline(LoginTimeout); // for the whole of the AUTHORIZATION state
    }

    public Turn Receive(
        ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
    {
        if (_session.IsAuthenticated)
        {
            _connection!.SetDeadline(IdleTimeout);
        }

        return SessionTurn.Take(_session, received, replies, out consumed, out written, out body);
    }

    public int LastWords(CloseReason reason, Span<byte> replies) =>
        _session.LastWords(reason == CloseReason.Timeout, replies);

    public void Closed()
    {
        _connection = null;
        if (_maildrop is null or { IsRemoving: false })
        {
            EndSession();
        }
    }

    public bool TryBegin(ReadOnlySpan<byte> user, ReadOnlySpan<byte> password)
    {
        _isChecking = _home.Passwords.TryBegin(_check, user, password);
        return _isChecking;
    }

    /// <summary>The work that was out has ended.</summary>
    public void Run()
    {
        if (_isChecking)
        {
            _isChecking = false;
            Account? account = _check.Proven;
            _check.Clear();
            if (_connection is not null)
            {
                LogIn(account);
            }
        }
        else
        {
            bool isDurable = _maildrop!.EndRemoval();
            if (_connection is not null)
            {
                _session.Removed(isDurable);
            }
            else
            {
                EndSession();
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

    private void LogIn(Account? account)
    {
        if (account is null)
        {
            _session.LoggedIn(LoginVerdict.Rejected, null);
        }
        else if (_home.Locks.TryAcquire(account.MailboxId) is not { } token)
        {
            _session.LoggedIn(LoginVerdict.InUse, null);
        }
        else
        {
            _maildrop = new LockedMaildrop(_home.Log, account.MailboxId, token, this);
            _session.LoggedIn(LoginVerdict.Accepted, _maildrop);
        }
    }

    private void EndSession()
    {
        _session.Abandon();
        _maildrop?.Close(); // whatever the session did: its lock ends with it
        _maildrop = null;
    }
}
