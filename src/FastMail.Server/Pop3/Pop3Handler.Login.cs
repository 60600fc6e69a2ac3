using FastMail.Protocol;
using FastMail.Protocol.Sasl;
using FastMail.Server.Accounts;

namespace FastMail.Server.Pop3;

/// <summary>The login of a connection, made when the client first wants to log in: one that only waits has none.</summary>
internal sealed partial class Pop3Handler : IAuthenticator, ILoginOwner
{
    private Login? _login;

    private Login Login
    {
        get
        {
            if (_login is null)
            {
                _login = new Login(_home.Logins, this);
                _login.Connect(_connection!.RemoteEndPoint.Address);
            }

            return _login;
        }
    }

    bool IAuthenticator.TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password) =>
        Login.TryBegin(identity, password);

    ScramVerifier? IAuthenticator.FindVerifier(ReadOnlySpan<byte> identity) => Login.FindVerifier(identity);

    bool IAuthenticator.TryBeginProof(ReadOnlySpan<byte> identity, bool isRight) => Login.TryBeginProof(identity, isRight);

    bool IAuthenticator.TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token) =>
        Login.TryBeginToken(identity, token);

    void ILoginOwner.LoggedIn(AuthVerdict verdict, Account? account)
    {
        if (_connection is not null)
        {
            Open(verdict, account);
        }

        if (_waiter is not { IsWaiting: true })
        {
            GoOn();
        }
    }
}
