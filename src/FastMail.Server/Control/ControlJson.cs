using System.Text.Json.Serialization;
using FastMail.Server.Maildrops;
using FastMail.Server.Relay.Routing;
using FastMail.Storage;

namespace FastMail.Server.Control;

/// <summary>What <c>GET /v1/status</c> answers. Immutable.</summary>
/// <param name="ProcessId">Of the server.</param>
/// <param name="DurableLsn">Everything below is flushed.</param>
/// <param name="Records">Written since the start.</param>
/// <param name="Groups">Flushes since the start.</param>
/// <param name="Bytes">Written since the start, octets.</param>
/// <param name="Segments">Segments of the log.</param>
/// <param name="PendingBytes">Waiting to be flushed, octets.</param>
/// <param name="IsSpaceLow">New mail is answered 452.</param>
/// <param name="HasFailed">A write or flush failed; the server is about to end.</param>
/// <param name="Scrub">The check of stored mail in the background; null when the server knows none.</param>
internal sealed record ServerStatus(
    int ProcessId, ulong DurableLsn, long Records, long Groups, long Bytes, int Segments, long PendingBytes,
    bool IsSpaceLow, bool HasFailed, ScrubStatus? Scrub);

/// <summary>What the scrubber has done since the server's start. Immutable.</summary>
/// <param name="Passes">Times that everything was looked at.</param>
/// <param name="Bytes">Octets read.</param>
/// <param name="Problems">Different damages that are there, as far as is known.</param>
/// <param name="PassEnded">When the last pass ended; null when none has.</param>
internal sealed record ScrubStatus(long Passes, long Bytes, long Problems, DateTimeOffset? PassEnded);

/// <summary>First line of <c>GET /v1/log/hold</c>; the hold lasts as long as the connection. Immutable.</summary>
/// <param name="EndLsn">Everything below is durable.</param>
/// <param name="Segments">Names of the segment files.</param>
internal sealed record HeldLog(ulong EndLsn, IReadOnlyList<string> Segments);

/// <summary>
/// A line of <c>POST /v1/log/compact</c>: how far it has come. The last one is complete or has an error. Immutable.
/// </summary>
/// <param name="Messages">Messages that were copied.</param>
/// <param name="CopiedBytes">Octets of their records.</param>
/// <param name="Segments">Segment files that were removed.</param>
/// <param name="FreedBytes">Their length, octets.</param>
/// <param name="IsComplete">Nothing is left to be done.</param>
/// <param name="Error">Why it ended early, for people.</param>
internal sealed record CompactStep(
    long Messages, long CopiedBytes, int Segments, long FreedBytes, bool IsComplete,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Error = null)
{
    public static CompactStep None { get; } = new(0, 0, 0, 0, IsComplete: false);

    /// <summary>No file was removed, because a backup or a reader of the log needs them all.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool IsHeld { get; init; }

    public static CompactStep Of(in CompactProgress progress, bool isComplete = false) =>
        new(progress.Messages, progress.CopiedBytes, progress.Segments, progress.FreedBytes, isComplete)
        {
            IsHeld = progress.IsHeld,
        };
}

/// <summary>The body of every answer that is not 200. Immutable.</summary>
/// <param name="Error">For people.</param>
internal sealed record ControlError(string Error);

/// <summary>The words of the control channel, serialised by generated code: no reflection at run time.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(ServerStatus))]
[JsonSerializable(typeof(HeldLog))]
[JsonSerializable(typeof(CompactStep))]
[JsonSerializable(typeof(ControlError))]
[JsonSerializable(typeof(RouteExplanation))]
[JsonSerializable(typeof(MaildropSummary[]))]
[JsonSerializable(typeof(RemovedMaildrop[]))]
[JsonSerializable(typeof(PurgeResult))]
[JsonSerializable(typeof(ExportedMessage))]
[JsonSerializable(typeof(ImportedMessage))]
[JsonSerializable(typeof(ImportResult[]))]
internal sealed partial class ControlJson : JsonSerializerContext;
