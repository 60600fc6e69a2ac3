namespace FastMail.Server.Pop3;

/// <summary>
/// The exclusive-access lock of each maildrop (RFC 1939 3 and 4). A lock is a token; only its holder can release it, so
/// a session that was refused can never free another's lock. Loop thread only.
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

        public void Release()
        {
            if (_locks._held.TryGetValue(_mailboxId, out Token? holder) && ReferenceEquals(holder, this))
            {
                _locks._held.Remove(_mailboxId);
            }
        }
    }
}
