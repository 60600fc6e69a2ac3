using FastMail.Net;
using FastMail.Server.Accounts;
using FastMail.Server.Dkim;
using FastMail.Server.Receive;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Relay;

/// <summary>What the engine is made of. Immutable; its parts belong to the server.</summary>
internal sealed record DeliveryParts
{
    public required EventLoop Loop { get; init; }

    public required MailLog Log { get; init; }

    public required Router Router { get; init; }

    /// <summary>For connections to next hops.</summary>
    public required TlsClient Tls { get; init; }

    public required LiveAccounts Accounts { get; init; }

    /// <summary>Signs mail with DKIM; null when nobody does.</summary>
    public DkimWorkers? Signing { get; init; }

    /// <summary>What maildrops here may hold.</summary>
    public required Quotas Quotas { get; init; }

    /// <summary>Names the messages that the engine makes.</summary>
    public required Intake Intake { get; init; }

    public required TimeProvider Clock { get; init; }

    /// <summary>Of the loop; not to be guessed.</summary>
    public required Random Random { get; init; }

    public required ILogger Logger { get; init; }

    /// <summary>This host's name, ASCII.</summary>
    public required ReadOnlyMemory<byte> Hostname { get; init; }

    public required ScheduleOptions Schedule { get; init; }

    public required DeliveryOptions Options { get; init; }

    /// <summary>What the process has died with, and what it works on now.</summary>
    public required InHand InHand { get; init; }
}

/// <summary>How the engine behaves on its connections. Immutable; any thread.</summary>
internal sealed record DeliveryOptions
{
    /// <summary>For a connection to a host to stand, by whichever of its addresses.</summary>
    public TimeSpan ConnectTime { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>A connection without work is kept for so long.</summary>
    public TimeSpan IdleTime { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Transactions of one connection.</summary>
    public int TransactionsPerConnection { get; init; } = 1000;

    /// <summary>
    /// Deliveries whose end is not durable yet: as many may be made a second time after a crash, and no new ones begin
    /// beyond that.
    /// </summary>
    public int MostUndurable { get; init; } = 500;

    /// <summary>A message is returned whole with a notification of failure up to so many octets.</summary>
    public long MostReturnedBytes { get; init; } = 64 * 1024;
}
