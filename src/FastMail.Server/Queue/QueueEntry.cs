using System.Text.Json.Serialization;

namespace FastMail.Server.Queue;

/// <summary>A recipient in the queue as verbs show it. Immutable.</summary>
/// <param name="Id">The transaction id, under which the client and the logs know the message.</param>
/// <param name="Seq">Number of the message's record.</param>
/// <param name="Recipient">Its number in the message.</param>
/// <param name="From">The reverse-path; empty for the null reverse-path.</param>
/// <param name="To">Where it goes.</param>
/// <param name="RedirectedFrom">Where it went before an operator redirected it; null when nobody has.</param>
/// <param name="State">ready, deferred or held.</param>
/// <param name="Arrived">When the message was received.</param>
/// <param name="Due">When it is tried next; null when that is now, or not at all.</param>
/// <param name="Attempts">So far.</param>
/// <param name="Octets">Length of the message's record.</param>
/// <param name="Reply">What was said last: by the next hop, or by whoever changed it.</param>
internal sealed record QueueEntry(
    string Id, ulong Seq, uint Recipient, string From, string To, string? RedirectedFrom, string State,
    DateTimeOffset Arrived, DateTimeOffset? Due, int Attempts, long Octets, string? Reply)
{
    /// <summary>The domain of <see cref="To"/>, or its literal.</summary>
    [JsonIgnore]
    public string Domain => To[(To.LastIndexOf('@') + 1)..].ToLowerInvariant();
}

/// <summary>One thing that happened to a message. Immutable.</summary>
/// <param name="Time">When.</param>
/// <param name="To">To whom; null when to all.</param>
/// <param name="State">received, routed, ready, deferred, held, delivered, failed or cancelled.</param>
/// <param name="Due">When it was to be tried next; null for none.</param>
/// <param name="Text">What was said; where it was to go and what decided that.</param>
/// <param name="Tls">How the connection to the next hop was protected; null when there was none.</param>
internal sealed record QueueStep(
    DateTimeOffset Time, string? To, string State, DateTimeOffset? Due, string? Text, string? Tls = null);

/// <summary>How a recipient stands, those that have ended too. Immutable.</summary>
/// <param name="To">Where it goes or went.</param>
/// <param name="State">ready, deferred, held, delivered, failed or cancelled.</param>
/// <param name="Due">When it is tried next; null when that is now, or not at all.</param>
/// <param name="Attempts">So far.</param>
/// <param name="Notify">NOTIFY as it was given; null when it was not.</param>
/// <param name="Place">What the engine does with it; null without a running server, and for one that has ended.</param>
internal sealed record QueueStanding(
    string To, string State, DateTimeOffset? Due, int Attempts, string? Notify, QueuePlace? Place);

/// <summary>A message of the queue with all that is known of it. Immutable.</summary>
/// <param name="Id">The transaction id.</param>
/// <param name="Seq">Number of its record.</param>
/// <param name="From">The reverse-path.</param>
/// <param name="Octets">Length of its record.</param>
/// <param name="Arrived">When it was received.</param>
/// <param name="Client">Address of the client.</param>
/// <param name="Helo">What the client called itself.</param>
/// <param name="Authenticated">Who submitted it; null when nobody had logged in.</param>
/// <param name="Tls">Version and cipher suite it came over; null in the clear.</param>
/// <param name="EnvelopeId">ENVID; null when it was not given.</param>
/// <param name="Priority">MT-PRIORITY; null when it was not given.</param>
/// <param name="ReleaseAt">When its sender wants it to go at the earliest; null when no wish was given.</param>
/// <param name="Recipients">Those to be relayed, the ended ones too.</param>
/// <param name="Steps">What happened, the oldest first; what was reclaimed is missing.</param>
internal sealed record QueueMessage(
    string Id, ulong Seq, string From, long Octets, DateTimeOffset Arrived, string? Client, string? Helo,
    string? Authenticated, string? Tls, string? EnvelopeId, int? Priority, DateTimeOffset? ReleaseAt, QueueStanding[] Recipients,
    QueueStep[] Steps);

/// <summary>The queue in numbers. Immutable.</summary>
/// <param name="Messages">With a recipient that has not ended.</param>
/// <param name="Recipients">That have not ended.</param>
/// <param name="Ready">Of these, to be tried now.</param>
/// <param name="Deferred">Of these, to be tried later.</param>
/// <param name="Held">Of these, not to be tried.</param>
/// <param name="Oldest">When the oldest message was received.</param>
/// <param name="Domains">Recipients by their domains, the largest first.</param>
/// <param name="Destinations">Next hops; empty without a running server.</param>
/// <param name="Totals">What has been since the start; null without a running server.</param>
internal sealed record QueueStats(
    int Messages, int Recipients, int Ready, int Deferred, int Held, DateTimeOffset? Oldest, QueueDomain[] Domains,
    IReadOnlyList<QueueDestination> Destinations, QueueTotals? Totals = null);

/// <summary>Attempts of a server since its start, by how they ended for a recipient. Immutable.</summary>
/// <param name="Delivered">Taken by the next hop, or in maildrops here.</param>
/// <param name="Deferred">To be tried again; each time counts.</param>
/// <param name="Failed">Ended without having been delivered.</param>
/// <param name="InDoubt">
/// Of those that were not delivered: the content had been sent and the reply was lost, so the message may have arrived, and
/// a further attempt may make a second one.
/// </param>
/// <param name="Notices">Notifications written to senders.</param>
internal sealed record QueueTotals(long Delivered, long Deferred, long Failed, long InDoubt, long Notices);

/// <summary>What is queued for a domain. Immutable.</summary>
/// <param name="Name">The domain.</param>
/// <param name="Recipients">In all.</param>
/// <param name="Deferred">Of these.</param>
/// <param name="Held">Of these.</param>
/// <param name="Oldest">When the oldest message for it was received.</param>
internal sealed record QueueDomain(string Name, int Recipients, int Deferred, int Held, DateTimeOffset Oldest);

/// <summary>The words of the queue verbs, serialised by generated code.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(QueueEntry))]
[JsonSerializable(typeof(QueueMessage))]
[JsonSerializable(typeof(QueueStats))]
[JsonSerializable(typeof(QueueActionResult))]
internal sealed partial class QueueJson : JsonSerializerContext;
