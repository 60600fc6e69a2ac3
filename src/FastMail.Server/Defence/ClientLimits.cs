namespace FastMail.Server.Defence;

/// <summary>What one client may take of the connections; read once at start, immutable.</summary>
internal sealed record ClientLimits
{
    /// <summary>Connections of one address at a time; 0 is no limit.</summary>
    public int PerAddress { get; init; } = 50;

    /// <summary>Connections of one IPv6 /64 at a time; 0 is no limit.</summary>
    public int PerNetwork { get; init; } = 50;

    /// <summary>New connections a minute of one IPv4 address or IPv6 /64; 0 is no limit.</summary>
    public int NewPerMinute { get; init; } = 60;

    /// <summary>New connections at once before that rate counts.</summary>
    public int NewAtOnce { get; init; } = 30;

    /// <summary>Clients without a connection that are remembered for their rate.</summary>
    public int Remembered { get; init; } = 65_536;
}
