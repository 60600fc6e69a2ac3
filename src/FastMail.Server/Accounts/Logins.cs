using FastMail.Net;
using FastMail.Server.Accounts.Tokens;
using FastMail.Server.Defence;

namespace FastMail.Server.Accounts;

/// <summary>What the logins of all connections share. Made once; loop thread only.</summary>
internal sealed class Logins
{
    public required EventLoop Loop { get; init; }

    public required LiveAccounts Accounts { get; init; }

    public required PasswordChecker Passwords { get; init; }

    /// <summary>Null when no tokens are taken.</summary>
    public TokenValidator? Tokens { get; init; }

    public required LoginGuard Guard { get; init; }

    /// <summary>Clients that are never made to wait.</summary>
    public required Exemptions Exemptions { get; init; }
}
