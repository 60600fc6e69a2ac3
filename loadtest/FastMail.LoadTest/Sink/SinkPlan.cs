using FastMail.LoadTest.Kernel;

namespace FastMail.LoadTest.Sink;

/// <summary>How a sink behaves. Immutable; any thread.</summary>
internal sealed record SinkPlan
{
    internal required TargetAddress Listen { get; init; }

    /// <summary>Keywords after the greeting line of the EHLO reply.</summary>
    internal IReadOnlyList<string> Keywords { get; init; } =
        ["PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "SIZE 0"];

    /// <summary>From the end of a content to its reply.</summary>
    internal TimeSpan Delay { get; init; }

    /// <summary>Share of contents whose reply is delayed.</summary>
    internal double DelayShare { get; init; } = 1;

    /// <summary>Share of connections greeted with 421 and closed.</summary>
    internal double RefuseConnectionShare { get; init; }

    /// <summary>Share of RCPT commands answered 450.</summary>
    internal double DeferShare { get; init; }

    /// <summary>Share of RCPT commands answered 550; with the deferred ones at most 1.</summary>
    internal double RejectShare { get; init; }

    /// <summary>Share of contents answered 451 at their end.</summary>
    internal double DeferContentShare { get; init; }

    /// <summary>Share of contents after which the connection is closed, unanswered; with the deferred ones at most 1.</summary>
    internal double DropShare { get; init; }

    /// <summary>Octets a second that a connection reads; 0: as they come.</summary>
    internal long ReadRate { get; init; }

    /// <summary>Share of connections that read at this rate; the others read as it comes.</summary>
    internal double ReadRateShare { get; init; } = 1;

    /// <summary>Seed of the faults.</summary>
    internal int Seed { get; init; }

    /// <summary>File that takes a line for each message and recipient that was accepted; null for none.</summary>
    internal string? RecordPath { get; init; }

    internal TimeSpan? Duration { get; init; }

    internal bool IsQuiet { get; init; }
}

/// <summary>What a sink has counted. Owned by its loop thread; read by others when the loop is over.</summary>
internal sealed class SinkTally
{
    internal long Connections { get; set; }

    /// <summary>Connections greeted with 421.</summary>
    internal long RefusedConnections { get; set; }

    internal long Accepted { get; set; }

    internal long AcceptedRecipients { get; set; }

    /// <summary>Octets of accepted content as it came: dot-stuffed, with its end.</summary>
    internal long Octets { get; set; }

    /// <summary>RCPT commands answered 450, and answered 550.</summary>
    internal long Deferred { get; set; }

    internal long Rejected { get; set; }

    internal long DeferredContents { get; set; }

    internal long Dropped { get; set; }

    /// <summary>Commands that the client should not have sent.</summary>
    internal long BadCommands { get; set; }

    /// <summary>Messages without a load id: nobody can tell whose they were.</summary>
    internal long Unknown { get; set; }
}
