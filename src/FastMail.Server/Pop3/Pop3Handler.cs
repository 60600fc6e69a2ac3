using FastMail.Net;
using FastMail.Protocol;
using FastMail.Protocol.Pop3;
using FastMail.Server.Accounts;
using FastMail.Server.Defence;
using FastMail.Server.Tls;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Pop3;

/// <summary>
/// Joins one connection to one POP3 session: logs in, locks the maildrop, carries removals out. At most one piece of
/// work is out at a time; the end of a removal is posted to the loop as this object. Pooled by <see cref="Pop3Handlers"/>; loop
/// thread only.
/// </summary>
internal sealed partial class Pop3Handler : IPooledHandler, ILoopWork
{
    private readonly Pop3Handlers _home;
    private readonly Pop3Session _session;
    private readonly SessionPacing _pacing;
    private WatchedCommit? _removal; // this and the next two are made by the first session that needs them
    private Action? _post;
    private LockWaiter? _waiter;
    private Connection? _connection;
    private Account? _account; // whose maildrop is waited for
    private LockedMaildrop? _maildrop;
    private string _address = ""; // of the account whose maildrop that is

    public Pop3Handler(Pop3Handlers home)
    {
        _home = home;
        _session = new Pop3Session(home.Options, this);
        _pacing = new SessionPacing(home.Policy, _session);
    }

    public int Place { get; set; }

    public bool IsBusy => _login is { IsBusy: true } || IsMaildropBusy;

    private bool IsMaildropBusy => _maildrop is { IsRemoving: true } or { IsReading: true };

    public void Opened(Connection connection)
    {
        _connection = connection;
        _login?.Connect(connection.RemoteEndPoint.Address);
        _session.Reset();
        bool isExempt = _home.Policy.IsExempt(connection.RemoteEndPoint.Address);
        _session.HasPauses = !isExempt;
        _home.Policy.Stress.Look();
        _pacing.Begin(connection, isExempt, _home.Policy.Pop3LoginTime); // for the whole of the AUTHORIZATION state
    }

    public void Secured(TlsParameters tls) => _session.Secured(ServerTls.FactsOf(tls));

    public Turn Receive(
        ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
    {
        _maildrop?.TakeInHand();
        Turn turn = SessionTurn.Take(
            _session, _home.Policy, received, replies, out consumed, out written, out body, out bool isOurFault);
        _home.Unreadable.PutDown();
        if (isOurFault && _maildrop is { } maildrop && maildrop.NoteFault())
        {
            _home.Logger.LogError(
                "a message of {Account} has ended three sessions by a mistake of the program; it is answered with an error from now on",
                _address);
        }

        if (_session.IsAuthenticated)
        {
            _pacing.TookCommands(written, _home.Policy.Times.Pop3Idle);
        }

        if (_maildrop is { IsRemoving: true } && _removal is not { IsWatched: true })
        {
            _home.Commits.Add(_removal ??= new WatchedCommit(RemovalOverdue));
        }

        if (_session.Pause > TimeSpan.Zero)
        {
            _pacing.Pause(_session.Pause);
        }

        return turn;
    }

    public void Hurry()
    {
        if (!_session.IsAuthenticated) // a maildrop may be looked at for ten minutes (RFC 1939 3)
        {
            _pacing.Hurry(_home.Policy.Pop3LoginTime);
        }
    }

    public int LastWords(CloseReason reason, Span<byte> replies) =>
        _session.LastWords(reason == CloseReason.Timeout, replies);

    public void Closed()
    {
        _pacing.End();
        _connection = null;
        _login?.Disconnect();
        _waiter?.GiveUp();
        if (!IsMaildropBusy)
        {
            EndSession();
        }
    }

    /// <summary>The removal that was out has ended, or a part of a large message has been read.</summary>
    public void Run()
    {
        if (_maildrop!.IsReading)
        {
            ContentStatus status = _maildrop.EndReading(out MessageContent part);
            _session.ContentRead(status, part);
        }
        else
        {
            _home.Commits.Remove(_removal);
            bool isDurable = _maildrop.EndRemoval();
            if (_connection is not null)
            {
                _session.Removed(isDurable);
            }
        }

        if (_connection is null)
        {
            EndSession();
        }

        GoOn();
    }

    /// <summary>
    /// The deadline of a removal has passed: the client hears -ERR and is let go; the maildrop stays locked until the
    /// removal is settled. It is withdrawn if it was not on its way to the disk yet; otherwise it may yet be done.
    /// </summary>
    private void RemovalOverdue()
    {
        if (_maildrop!.TryGiveUpRemoval() && _connection is not null)
        {
            _session.Removed(isDurable: false);
            _connection.Resume();
        }
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

    private void Open(AuthVerdict verdict, Account? account)
    {
        if (account is null)
        {
            _session.LoggedIn(
                verdict == AuthVerdict.Rejected ? LoginVerdict.Rejected : LoginVerdict.Unavailable, null);
        }
        else if (!_home.Delays.TryLogIn(account.MailboxId))
        {
            _session.LoggedIn(LoginVerdict.TooSoon, null);
        }
        else if (_home.Locks.TryAcquire(account.MailboxId) is { } token)
        {
            Open(account, token);
        }
        else if (_home.LockWait > TimeSpan.Zero && _home.Locks.SessionsOf(account.MailboxId) < _home.SessionsPerUser)
        {
            _account = account;
            _waiter ??= new LockWaiter(_home.Loop, Granted);
            _waiter.Wait(_home.Locks, account.MailboxId, _home.LockWait);
        }
        else
        {
            _session.LoggedIn(LoginVerdict.InUse, null);
        }
    }

    /// <summary>The wait for the maildrop is over; null when nobody has closed it in time.</summary>
    private void Granted(MaildropLocks.Token? token)
    {
        Account account = _account!;
        _account = null;
        if (token is null)
        {
            _session.LoggedIn(LoginVerdict.InUse, null);
        }
        else
        {
            Open(account, token);
        }

        GoOn();
    }

    private void Open(Account account, MaildropLocks.Token token)
    {
        _address = account.Address;
        _post ??= () => _home.Loop.Post(this);
        _maildrop?.LetGo(); // closed: the client fell out of SCRAM behind a right proof. Nothing of it was ever sent
        _maildrop = LockedMaildrop.TryOpen(
            _home.Log, account.MailboxId, token, this, _post, _home.Unreadable, _home.Retention.Of(account.MailboxId));
        _session.LoggedIn(_maildrop is null ? LoginVerdict.Unavailable : LoginVerdict.Accepted, _maildrop);
    }

    private void EndSession()
    {
        _session.Abandon();
        _maildrop?.Close(); // whatever the session did: its lock ends with it
        _maildrop?.LetGo();
        _maildrop = null;
    }
}
