using FastMail.Server.Queue;
using FastMail.Server.Receive;
using FastMail.Server.Relay.Routing;

namespace FastMail.Server.Control;

/// <summary>What the control channel answers for. Immutable.</summary>
internal sealed record ControlParts
{
    /// <summary>The mail log with the accounts.</summary>
    public required OpenStore Store { get; init; }

    /// <summary>Explains its decisions.</summary>
    public required Router Router { get; init; }

    /// <summary>Mail that waits to be relayed.</summary>
    public required OpenQueue Queue { get; init; }

    /// <summary>Takes mail of programs of this machine.</summary>
    public required LocalSubmission Submission { get; init; }
}
