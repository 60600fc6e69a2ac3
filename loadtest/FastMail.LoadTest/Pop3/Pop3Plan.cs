using FastMail.LoadTest.Kernel;

namespace FastMail.LoadTest.Pop3;

/// <summary>What a POP3 run is asked to do. Immutable; any thread.</summary>
internal sealed record Pop3Plan
{
    internal required TargetAddress Target { get; init; }

    /// <summary>User names, one maildrop each; no maildrop is opened twice at once.</summary>
    internal required IReadOnlyList<string> Users { get; init; }

    internal required string Password { get; init; }

    internal int Sessions { get; init; } = 1;

    /// <summary>Sessions at the same time; at most as many as users.</summary>
    internal int Parallel { get; init; } = 1;

    /// <summary>Asked between login and QUIT, in this order: stat, list, uidl, retr.</summary>
    internal IReadOnlyList<string> Commands { get; init; } = ["stat", "list", "retr"];

    /// <summary>RETR or DELE commands in flight.</summary>
    internal int Depth { get; init; } = 1;

    /// <summary>Messages to retrieve in a session, from the first on.</summary>
    internal int MostRetrieved { get; init; } = int.MaxValue;

    internal bool IsDeleting { get; init; }

    internal TimeSpan Timeout { get; init; }

    internal bool IsQuiet { get; init; }
}
