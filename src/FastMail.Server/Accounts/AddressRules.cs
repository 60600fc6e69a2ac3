namespace FastMail.Server.Accounts;

/// <summary>How addresses are read that are nobody's own. Immutable.</summary>
internal sealed record AddressRules
{
    /// <summary>Behind it a local-part may say anything: <c>ann+lists@</c> is <c>ann@</c>. Null for no such rule.</summary>
    public char? Delimiter { get; init; } = '+';

    /// <summary>Who has logged in sends only from addresses of its own.</summary>
    public bool RequiresOwnSender { get; init; } = true;

    /// <summary>This host's name: the domain of bare <c>postmaster</c>.</summary>
    public string Hostname { get; init; } = "localhost";
}
