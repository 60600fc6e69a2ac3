namespace FastMail.Protocol;

/// <summary>
/// The limits of a dialog that an operator may move, shared by the sessions of a listener and never changed. What the
/// RFCs or our memory fix stays in <see cref="Limits"/>.
/// </summary>
public sealed record SessionLimits
{
    public static readonly SessionLimits Default = new();

    /// <summary>SMTP command line with its CRLF, octets (RFC 5321 4.5.3.1.4: 512, plus what extensions add).</summary>
    public int CommandLineBytes { get; init; } = 2048;

    /// <summary>AUTH command or response with its CRLF, octets (RFC 4954 4: 12,288).</summary>
    public int AuthLineBytes { get; init; } = 12_288;

    /// <summary>
    /// Line of content without CRLF and without a stuffed dot, octets. RFC 5321 4.5.3.1.6 wants 998; more is stored as
    /// it came and marked, because cutting or folding it would break its signature.
    /// </summary>
    public int ContentLineBytes { get; init; } = 64 * 1024;

    /// <summary>Header section of a message, octets in wire form.</summary>
    public int HeaderBytes { get; init; } = 1024 * 1024;

    /// <summary>Lines of the header section.</summary>
    public int HeaderLines { get; init; } = 2000;

    /// <summary>Bad commands since the last accepted message; one more closes the session.</summary>
    public int BadCommands { get; init; } = 20;

    /// <summary>
    /// Commands that carry no mail (NOOP, RSET, VRFY, HELP) since the last accepted message; more are bad commands.
    /// </summary>
    public int IdleCommands { get; init; } = 100;

    /// <summary>Bad commands, or refused recipients of a transaction, beyond which each is followed by a pause.</summary>
    public int PromptErrors { get; init; } = 10;

    /// <summary>How long that pause is.</summary>
    public TimeSpan ErrorPause { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Pause after each bad command and each refused recipient, from the first on; zero is none.</summary>
    public TimeSpan Tarpit { get; init; } = TimeSpan.Zero;

    /// <summary>How long the greeting waits to see whether the client speaks first; zero is not at all.</summary>
    public TimeSpan GreetingPause { get; init; } = TimeSpan.Zero;
}
