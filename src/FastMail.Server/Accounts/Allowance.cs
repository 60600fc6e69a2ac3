namespace FastMail.Server.Accounts;

/// <summary>
/// How much a maildrop may hold and for how long. Null means what the configuration says, 0 means no limit. Immutable.
/// </summary>
/// <param name="Messages">Most messages.</param>
/// <param name="Octets">Most octets, as POP3 counts them.</param>
/// <param name="RetentionDays">Days after which a message is removed.</param>
internal sealed record Allowance(long? Messages, long? Octets, int? RetentionDays)
{
    /// <summary>What an account has that nobody gave anything.</summary>
    public static readonly Allowance Unset = new(null, null, null);

    public bool IsUnset => this == Unset;

    /// <summary>This one, with the gaps filled from another.</summary>
    public Allowance Or(Allowance defaults) =>
        new(Messages ?? defaults.Messages, Octets ?? defaults.Octets, RetentionDays ?? defaults.RetentionDays);
}
