namespace FastMail.Server.Accounts;

/// <summary>How many failed logins are borne; see <see cref="LoginGuard"/>. Immutable.</summary>
internal sealed record LoginLimits
{
    /// <summary>A bucket that is full is empty again after this time without failures.</summary>
    public TimeSpan Window { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Failures of one client, whatever the account.</summary>
    public int PerClient { get; init; } = 20;

    /// <summary>Failures for one account, whoever the client.</summary>
    public int PerAccount { get; init; } = 100;

    /// <summary>Failures of one client for one account.</summary>
    public int PerPair { get; init; } = 10;

    /// <summary>Failures of all clients for all accounts.</summary>
    public int Total { get; init; } = 1000;

    /// <summary>The first failure is answered after this time, the n-th after n times as long.</summary>
    public TimeSpan Delay { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>n at most.</summary>
    public int LongestDelays { get; init; } = 8;

    /// <summary>Clients, accounts and pairs remembered; 32 octets each.</summary>
    public int Tracked { get; init; } = 65_536;
}
