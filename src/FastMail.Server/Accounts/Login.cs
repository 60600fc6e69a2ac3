using System.Net;
using System.Text;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Protocol.Sasl;

namespace FastMail.Server.Accounts;

/// <summary>The handler of a connection on which somebody may log in. Loop thread only.</summary>
internal interface ILoginOwner
{
    /// <summary>The verdict; not called when <see cref="Login.Disconnect"/> came while it was being held back.</summary>
    void LoggedIn(AuthVerdict verdict, Account? account);
}

/// <summary>
/// The logins of one connection, one at a time: hands the check out, asks the guard, and holds the answer to a failure
/// back by a timer. Owned and reused by the connection's handler; loop thread only.
/// </summary>
internal sealed class Login : IAuthenticator, ILoopWork
{
    private const int LongestName = 255;

    private readonly Logins _shared;
    private readonly ILoginOwner _owner;
    private PasswordCheck? _check; // made when they are needed: most connections of an MX never log in
    private LoopTimer? _timer;
    private OctetCopy _name; // in lower case, as the guard counts it
    private IPAddress? _client; // null when nobody is connected, or the client is exempt
    private bool _isGuarded;
    private ScramVerifier? _verifier;
    private AuthVerdict _verdict;
    private Account? _account;

    /// <param name="shared">What all logins share.</param>
    /// <param name="owner">Whose connection it is.</param>
    public Login(Logins shared, ILoginOwner owner)
    {
        _shared = shared;
        _owner = owner;
    }

    /// <summary>A check is out, or its end is posted: it comes back whether or not the client is still there.</summary>
    public bool IsBusy { get; private set; }

    public void Connect(IPAddress client)
    {
        _client = client;
        _isGuarded = !_shared.Exemptions.Contains(client);
    }

    public void Disconnect()
    {
        if (_timer is not null)
        {
            _shared.Loop.Disarm(_timer);
        }

        _client = null;
        _verifier = null;
    }

    public bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password)
    {
        if (!IsAdmitted(identity))
        {
            HoldBack(_shared.Guard.Delay(_client!), AuthVerdict.Unavailable);
            return true;
        }

        _check ??= new PasswordCheck(_ => _shared.Loop.Post(this));
        IsBusy = _shared.Passwords.TryBegin(_check, identity, password);
        return IsBusy;
    }

    public ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity)
    {
        if (!IsAdmitted(identity))
        {
            return null;
        }

        _verifier = _shared.Accounts.Current.Find(identity)?.Scram
            ?? _shared.Accounts.Decoys.Make(_name.Span, _shared.Passwords.Iterations);
        return _verifier;
    }

    public bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight)
    {
        Account? account = _shared.Accounts.Current.Find(identity);
        // The password may have been changed since the challenge.
        bool isProven = isRight && account is not null && ReferenceEquals(account.Scram, _verifier);
        _verifier = null;
        _account = isProven ? account : null;
        _verdict = isProven ? AuthVerdict.Accepted : AuthVerdict.Rejected;
        IsBusy = true;
        _shared.Loop.Post(this);
        return true;
    }

    public bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token)
    {
        if (!IsAdmitted(identity))
        {
            HoldBack(_shared.Guard.Delay(_client!), AuthVerdict.Unavailable);
            return true;
        }

        string? claimed = identity.IsEmpty ? null : AddressKey.Of(identity);
        bool mustMatch = !identity.IsEmpty;
        IsBusy = _shared.Tokens is { } tokens && tokens.TryBegin(token, (verdict, address) =>
        {
            // Who has a good token is known to the issuer; whether there is an account is known here only.
            string? named = address is null ? null : AddressKey.Of(address);
            Account? account = named is null || (mustMatch && claimed != named)
                ? null
                : _shared.Accounts.Current.Find(Encoding.UTF8.GetBytes(named));
            _account = account;
            _verdict = verdict == AuthVerdict.Accepted && account is null ? AuthVerdict.Rejected : verdict;
            _shared.Loop.Post(this);
        });
        return IsBusy;
    }

    /// <summary>The check has ended.</summary>
    public void Run()
    {
        IsBusy = false;
        Account? proven = null;
        if (_check is not null && _check.TryTake(out proven))
        {
            _account = proven;
            _verdict = proven is null ? AuthVerdict.Rejected : AuthVerdict.Accepted;
        }

        if (_client is null || !_isGuarded)
        {
            _owner.LoggedIn(_verdict, _account);
        }
        else if (_verdict == AuthVerdict.Rejected)
        {
            HoldBack(_shared.Guard.Failed(_client, _name.Span), _verdict);
        }
        else
        {
            if (_verdict == AuthVerdict.Accepted)
            {
                _shared.Guard.Succeeded(_client, _name.Span);
            }

            _owner.LoggedIn(_verdict, _account);
        }
    }

    private bool IsAdmitted(ReadOnlySpan<byte> identity)
    {
        identity = identity[..Math.Min(identity.Length, LongestName)];
        Span<byte> name = _name.Take(identity.Length);
        System.Text.Ascii.ToLower(identity, name, out int lowered);
        identity[lowered..].CopyTo(name[lowered..]); // behind the first octet that is not ASCII
        return !_isGuarded || _shared.Guard.Admits(_client!, _name.Span);
    }

    private void HoldBack(TimeSpan delay, AuthVerdict verdict)
    {
        _verdict = verdict;
        _account = null;
        _timer ??= new LoopTimer(new Deliverer(this));
        _shared.Loop.Arm(_timer, delay);
    }

    /// <summary>The verdict has been held back long enough.</summary>
    private sealed class Deliverer(Login login) : ILoopWork
    {
        public void Run() => login._owner.LoggedIn(login._verdict, login._account);
    }
}
