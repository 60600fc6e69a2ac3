namespace FastMail.Server.Queue;

/// <summary>What an operator may do with recipients in the queue.</summary>
internal enum QueueAction
{
    /// <summary>It is due now; what is held stays held.</summary>
    Retry,

    /// <summary>It is not tried until it is released.</summary>
    Hold,

    /// <summary>What was held is due now.</summary>
    Release,

    /// <summary>It ends here.</summary>
    Cancel,

    /// <summary>It goes to another address, now.</summary>
    Redirect,
}

/// <summary>
/// Whoever changes the queue: the engine of a running server, which knows what is under way, or the log itself when no
/// server runs. Any thread.
/// </summary>
internal interface IQueueControl
{
    /// <summary>
    /// Does it with each of the recipients; completes when all changes are durable. One that is being sent just now, has
    /// ended, or cannot be treated so is left alone and counted.
    /// </summary>
    /// <exception cref="IOException">The log did not take the changes.</exception>
    Task<QueueActionResult> ApplyAsync(
        QueueAction action, IReadOnlyList<(ulong Seq, uint Recipient)> recipients, QueueActionOptions options, CancellationToken token);

    /// <summary>The next hops for which there is mail, or was a moment ago.</summary>
    Task<IReadOnlyList<QueueDestination>> ReadDestinationsAsync(CancellationToken token);

    /// <summary>What has come of all attempts since the server started; null without one.</summary>
    Task<QueueTotals?> ReadTotalsAsync(CancellationToken token);

    /// <summary>How a recipient stands beyond what the log says; null when there is nothing to be said.</summary>
    Task<QueuePlace?> FindPlaceAsync(ulong seq, uint recipient, CancellationToken token);

    /// <summary>
    /// Where mail for a forward-path would go now and what decides that, in words; null when nobody here knows, or it
    /// cannot be found out in a moment.
    /// </summary>
    Task<string?> FindRouteAsync(string forwardPath, CancellationToken token);

    /// <summary>A message with relay recipients has become durable by another way than a session.</summary>
    Task EnterAsync(ulong seq, CancellationToken token);
}

/// <summary>How an action is meant. Immutable.</summary>
/// <param name="ForwardPath">Of a redirect: where to.</param>
/// <param name="Notifies">Of a cancellation: the sender gets a notification, as of a failure.</param>
internal sealed record QueueActionOptions(string? ForwardPath = null, bool Notifies = false);

/// <summary>What an action has done, in recipients. Immutable.</summary>
/// <param name="Changed">Done and durable.</param>
/// <param name="UnderWay">Being sent just now: left alone.</param>
/// <param name="Gone">Ended before.</param>
/// <param name="Refused">Cannot be treated so, e.g. a retry of what is held, or word of a message that is damaged.</param>
internal sealed record QueueActionResult(int Changed, int UnderWay, int Gone, int Refused)
{
    public static QueueActionResult None { get; } = new(0, 0, 0, 0);

    public static QueueActionResult operator +(QueueActionResult one, QueueActionResult other) => new(
        one.Changed + other.Changed, one.UnderWay + other.UnderWay, one.Gone + other.Gone, one.Refused + other.Refused);
}

/// <summary>A next hop as the engine knows it. Immutable.</summary>
/// <param name="Name">Its key, e.g. a domain that is sent to by MX, or host:port.</param>
/// <param name="Ready">Recipients that are due.</param>
/// <param name="UnderWay">Recipients that are being sent.</param>
/// <param name="Connections">Open now.</param>
/// <param name="Concurrency">Connections that there may be.</param>
/// <param name="BlockedUntil">Until then it is not tried, as it failed again and again; null when it is.</param>
/// <param name="LastFailure">What it said, or why it could not be reached; null when nothing has failed.</param>
internal sealed record QueueDestination(
    string Name, int Ready, int UnderWay, int Connections, int Concurrency, DateTimeOffset? BlockedUntil, string? LastFailure);

/// <summary>Where a recipient stands in the engine. Immutable.</summary>
/// <param name="Destination">The next hop's key; null while it is not known.</param>
/// <param name="Doing">What is being done with it now, for people.</param>
internal sealed record QueuePlace(string? Destination, string Doing);
