using System.Net;
using FastMail.Server.Defence;
using FastMail.Server.Relay.Routing;

namespace FastMail.Server.Relay;

/// <summary>
/// Who may hand in mail for others, and to whom it is handed on once it is durable. Nobody may but who has logged in, or
/// comes from a network that the operator has listed; loopback is nothing special. Shared by all receivers; loop thread
/// only.
/// </summary>
internal sealed class RelayIntake
{
    private readonly Exemptions _peers;

    /// <param name="engine">Delivers.</param>
    /// <param name="peers"><c>relay.from</c>.</param>
    /// <param name="runs">Answers ETRN.</param>
    public RelayIntake(DeliveryEngine engine, Exemptions peers, QueueRuns runs)
    {
        Engine = engine;
        Runs = runs;
        _peers = peers;
    }

    public DeliveryEngine Engine { get; }

    public QueueRuns Runs { get; }

    /// <summary>Says which recipients are refused.</summary>
    public required RouteTable Routes { get; init; }

    /// <summary>A submitter who has mail for so many recipients held back has no more of it taken (RFC 4865 6).</summary>
    public required int MostHeld { get; init; }

    /// <summary>Its mail is relayed without a login.</summary>
    public bool Trusts(IPAddress client) => _peers.Contains(client);
}
