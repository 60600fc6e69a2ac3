namespace FastMail.Server.Accounts.Tokens;

/// <summary>Which bearer tokens are taken. Immutable.</summary>
internal sealed record TokenRules
{
    /// <summary>File or URL of the keys (RFC 7517) of signed tokens; null for none.</summary>
    public string? Keys { get; init; }

    /// <summary>The one issuer whose tokens count.</summary>
    public string Issuer { get; init; } = "";

    /// <summary>What a token must be made for.</summary>
    public string Audience { get; init; } = "";

    /// <summary>The claim that holds the address of the account.</summary>
    public string Claim { get; init; } = "email";

    /// <summary>Keys are read again after this time.</summary>
    public TimeSpan Refresh { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Endpoint that judges tokens instead (RFC 7662); null for none.</summary>
    public Uri? Introspection { get; init; }

    /// <summary>Our name at that endpoint, and the file of the secret; null when it asks for none.</summary>
    public (string Name, string SecretFile)? IntrospectionClient { get; init; }

    /// <summary>A key server or endpoint that takes longer does not answer at all.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How far clocks may differ.</summary>
    public TimeSpan Leeway { get; init; } = TimeSpan.FromMinutes(1);

    public bool IsAny => Keys is not null || Introspection is not null;
}
