using FastMail.Net;

namespace FastMail.Server.Defence;

/// <summary>How long a peer may take for what; read once at start, immutable.</summary>
internal sealed record SessionTimes
{
    /// <summary>A whole SMTP command, from the reply to the one before (RFC 5321 4.5.3.2.7).</summary>
    public TimeSpan Command { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>The same, and the whole of a POP3 login, under stress.</summary>
    public TimeSpan StressCommand { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>The whole of POP3's AUTHORIZATION state.</summary>
    public TimeSpan Pop3Login { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>A whole POP3 command after login (RFC 1939 3: no less than ten minutes).</summary>
    public TimeSpan Pop3Idle { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Content on its way in, replies and messages on their way out.</summary>
    public MinimumRate Rate { get; init; } = new(240, TimeSpan.FromSeconds(5));
}
