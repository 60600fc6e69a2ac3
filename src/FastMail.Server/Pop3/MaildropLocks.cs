using FastMail.Net;

namespace FastMail.Server.Pop3;

/// <summary>
/// The exclusive-access lock of each maildrop (RFC 1939 3 and 4), and the sessions that wait for one, first come first
/// served. A lock is a token; only its holder can release it, so a session that was refused can never free another's
/// lock. Loop thread only; nothing blocks.
/// </summary>
internal sealed class MaildropLocks
{
    private readonly Dictionary<ulong, Token> _held = [];

    /// <summary>The lock of a maildrop, or null while somebody holds it.</summary>
    public Token? TryAcquire(ulong mailboxId)
    {
        var token = new Token(this, mailboxId);
        return _held.TryAdd(mailboxId, token) ? token : null;
    }

    /// <summary>Sessions that hold the maildrop or wait for it.</summary>
    public int SessionsOf(ulong mailboxId) =>
        _held.TryGetValue(mailboxId, out Token? holder) ? 1 + holder.Waiters.Count : 0;

    /// <summary>Waits for a lock that somebody holds; the waiter is told by <see cref="LockWaiter.Granted"/>.</summary>
    public void Wait(ulong mailboxId, LockWaiter waiter) => _held[mailboxId].Waiters.AddLast(waiter.Place);

    /// <summary>Proof of holding a maildrop. Released once; a second release does nothing.</summary>
    internal sealed class Token
    {
        private readonly MaildropLocks _locks;
        private readonly ulong _mailboxId;

        internal Token(MaildropLocks locks, ulong mailboxId)
        {
            _locks = locks;
            _mailboxId = mailboxId;
        }

        internal LinkedList<LockWaiter> Waiters { get; private set; } = new();

        public void Release()
        {
            if (!_locks._held.TryGetValue(_mailboxId, out Token? holder) || !ReferenceEquals(holder, this))
            {
                return;
            }

            if (Waiters.First?.Value is not { } next)
            {
                _locks._held.Remove(_mailboxId);
                return;
            }

            Waiters.RemoveFirst();
            var token = new Token(_locks, _mailboxId) { Waiters = Waiters };
            Waiters = new LinkedList<LockWaiter>();
            _locks._held[_mailboxId] = token;
            next.Grant(token);
        }
    }
}

/// <summary>
/// One session's place in the queue for a maildrop, with the time it is willing to wait. Owned by the session's handler
/// and used again and again; loop thread only.
/// </summary>
internal sealed class LockWaiter
{
    private readonly EventLoop _loop;
    private readonly LoopTimer _timer;
    private readonly Posted _posted;

    /// <param name="loop">Whose timer ends the wait.</param>
    /// <param name="granted">The lock, or null when the time is over; a work of its own on the loop.</param>
    public LockWaiter(EventLoop loop, Action<MaildropLocks.Token?> granted)
    {
        _loop = loop;
        Granted = granted;
        Place = new LinkedListNode<LockWaiter>(this);
        _posted = new Posted(this);
        _timer = new LoopTimer(new Expired(this));
    }

    /// <summary>In the queue, or a lock that was given is still to be told of.</summary>
    public bool IsWaiting { get; private set; }

    internal LinkedListNode<LockWaiter> Place { get; }

    private Action<MaildropLocks.Token?> Granted { get; }

    /// <summary>Enters the queue.</summary>
    public void Wait(MaildropLocks locks, ulong mailboxId, TimeSpan most)
    {
        IsWaiting = true;
        locks.Wait(mailboxId, this);
        _loop.Arm(_timer, most);
    }

    /// <summary>Leaves the queue; a lock that has been given meanwhile goes to the next one.</summary>
    public void GiveUp()
    {
        _loop.Disarm(_timer);
        Place.List?.Remove(Place);
        IsWaiting = false;
        _posted.Token?.Release();
        _posted.Token = null;
    }

    internal void Grant(MaildropLocks.Token token)
    {
        _loop.Disarm(_timer);
        _posted.Token = token;
        _loop.Post(_posted); // not from within the other session's end
    }

    private void End(MaildropLocks.Token? token)
    {
        IsWaiting = false;
        Granted(token);
    }

    private sealed class Posted(LockWaiter waiter) : ILoopWork
    {
        public MaildropLocks.Token? Token { get; set; }

        public void Run()
        {
            if (Token is { } token) // given up between post and run otherwise
            {
                Token = null;
                waiter.End(token);
            }
        }
    }

    private sealed class Expired(LockWaiter waiter) : ILoopWork
    {
        public void Run()
        {
            waiter.Place.List?.Remove(waiter.Place);
            waiter.End(null);
        }
    }
}
