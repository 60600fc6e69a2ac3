namespace FastMail.Storage;

/// <summary>Where a recipient that is relayed stands. The numbers are on disk and never change.</summary>
public enum QueueState : byte
{
    /// <summary>To be tried now; as every recipient begins.</summary>
    Ready = 0,

    /// <summary>To be tried when it is due.</summary>
    Deferred = 1,

    /// <summary>Not to be tried until an operator says so.</summary>
    Held = 2,

    /// <summary>The next hop has taken it over: the end.</summary>
    Delivered = 3,

    /// <summary>It cannot be delivered: the end.</summary>
    Failed = 4,

    /// <summary>An operator, or whoever sent it, took it back: the end.</summary>
    Cancelled = 5,

    /// <summary>It has ended; how, an older record said. Only compaction writes this.</summary>
    Ended = 6,
}

/// <summary>What can be said of a <see cref="QueueState"/> alone. Stateless.</summary>
public static class QueueStates
{
    /// <summary>The recipient is done with; nothing that comes later revives it.</summary>
    public static bool IsEnd(this QueueState state)
    {
        return state >= QueueState.Delivered;
    }
}

/// <summary>
/// What became of a recipient that is relayed. It replaces all that was known of it but the forward-path. A value; the
/// memory it refers to is copied where it is added to a record.
/// </summary>
public readonly record struct QueueChange
{
    /// <summary>A longer <see cref="Text"/> is cut.</summary>
    public const int MaxTextBytes = 512;

    /// <summary>A longer <see cref="Route"/> or <see cref="Tls"/> is cut.</summary>
    public const int MaxWayBytes = byte.MaxValue;

    /// <summary>Longest <see cref="ForwardPath"/>.</summary>
    public const int MaxForwardPathBytes = 1024;

    /// <summary>As <see cref="Recipient"/>: every recipient of the message that has not ended.</summary>
    public const uint AllRecipients = uint.MaxValue;

    /// <summary>
    /// Number of the message's record, the queue id. 0 in <see cref="PendingMessage.AddQueueChange"/>: that message.
    /// </summary>
    public required ulong Seq { get; init; }

    /// <summary>As <see cref="PendingMessage.AddRelayRecipient"/> numbered it, or <see cref="AllRecipients"/>.</summary>
    public required uint Recipient { get; init; }

    /// <summary>The new state.</summary>
    public required QueueState State { get; init; }

    /// <summary>When to try next, microseconds since 1970 UTC.</summary>
    public long DueMicros { get; init; }

    /// <summary>Attempts so far, at most 65,535.</summary>
    public int Attempts { get; init; }

    /// <summary>The sender has been told that it takes longer (RFC 3461 4.1).</summary>
    public bool IsDelayTold { get; init; }

    /// <summary>For people: the next hop and what it replied, UTF-8.</summary>
    public ReadOnlyMemory<byte> Text { get; init; }

    /// <summary>For people: where it was to go, and what decided that, UTF-8; empty when nobody had decided.</summary>
    public ReadOnlyMemory<byte> Route { get; init; }

    /// <summary>For people: how the connection to the next hop was protected, UTF-8; empty when there was none.</summary>
    public ReadOnlyMemory<byte> Tls { get; init; }

    /// <summary>Where it goes instead; empty leaves the forward-path as it is.</summary>
    public ReadOnlyMemory<byte> ForwardPath { get; init; }
}
