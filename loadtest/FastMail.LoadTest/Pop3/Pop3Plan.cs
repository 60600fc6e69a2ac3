using FastMail.LoadTest.Kernel;

namespace FastMail.LoadTest.Pop3;

/// <summary>What a session asks for between login and QUIT.</summary>
internal enum Pop3Step
{
    Stat,
    List,
    Uidl,
    Retr,
    Dele,
}

/// <summary>What a POP3 run is asked to do. Immutable; any thread.</summary>
internal sealed record Pop3Plan
{
    internal required TargetAddress Target { get; init; }

    /// <summary>What a report calls this run.</summary>
    internal string Label { get; init; } = "";

    /// <summary>File that takes the intervals of the run; null for none.</summary>
    internal string? CsvPath { get; init; }

    /// <summary>Null: in the clear.</summary>
    internal TlsPlan? Tls { get; init; }

    /// <summary>User names, one maildrop each; no maildrop is opened twice at once.</summary>
    internal required IReadOnlyList<string> Users { get; init; }

    internal required string Password { get; init; }

    /// <summary>Sessions to run; <see cref="int.MaxValue"/> when <see cref="Duration"/> ends the run.</summary>
    internal int Sessions { get; init; } = 1;

    /// <summary>No session is begun after this long.</summary>
    internal TimeSpan? Duration { get; init; }

    /// <summary>Sessions at the same time; at most as many as users.</summary>
    internal int Parallel { get; init; } = 1;

    /// <summary>Asked between login and QUIT, in this order.</summary>
    internal IReadOnlyList<Pop3Step> Steps { get; init; } = [Pop3Step.Stat, Pop3Step.List, Pop3Step.Retr];

    /// <summary>RETR or DELE commands in flight.</summary>
    internal int Depth { get; init; } = 1;

    /// <summary>Messages to retrieve or delete in a session, from the first on.</summary>
    internal int MostRetrieved { get; init; } = int.MaxValue;

    internal bool IsDeleting { get; init; }

    internal TimeSpan Timeout { get; init; }

    internal bool IsQuiet { get; init; }

    /// <summary>The steps as the command line names them.</summary>
    internal string CommandsText => Steps.Count == 0
        ? "login"
        : string.Join(',', Steps.Select(step => step.ToString().ToLowerInvariant()));

    /// <summary>Whether a report counts messages; otherwise sessions.</summary>
    internal bool IsRetrieving => Steps.Contains(Pop3Step.Retr);

    /// <summary>
    /// What the sessions of a run do. Who collects needs all there is to be told of a maildrop; RETR and DELE need to know
    /// how many messages there are.
    /// </summary>
    internal Pop3Step[] StepsFor(bool isCollecting)
    {
        List<Pop3Step> steps = isCollecting
            ? [Pop3Step.Stat, Pop3Step.List, Pop3Step.Uidl, Pop3Step.Retr]
            : [.. Steps];
        if (IsDeleting && !steps.Contains(Pop3Step.Dele))
        {
            steps.Add(Pop3Step.Dele);
        }

        if (steps.Count > 0 && steps[0] is Pop3Step.Retr or Pop3Step.Dele)
        {
            steps.Insert(0, Pop3Step.Stat);
        }

        return [.. steps];
    }
}
