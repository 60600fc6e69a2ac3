using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace FastMail.Server.Maildrops;

/// <summary>
/// Messages on their way between a verb and an open store, in both directions: <c>u32 length, JSON, u32 length, text
/// of the message</c>, little-endian, one after the other. Stateless; any thread.
/// </summary>
internal static class Frames
{
    /// <summary>
    /// Longest text, octets: the largest limits.message_size, and the trace in front of it. A little less than the
    /// longest array, which it lies in together with smaller messages.
    /// </summary>
    public const int LongestText = (2047 << 20) + (256 << 10);

    private const int LongestHead = 64 * 1024;

    public static void Write<T>(IBufferWriter<byte> output, T head, JsonTypeInfo<T> type, int textBytes)
    {
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(head, type);
        WriteLength(output, json.Length);
        output.Write(json);
        WriteLength(output, textBytes);
    }

    /// <summary>The head of the next message, or null at the end of the stream.</summary>
    /// <exception cref="InvalidDataException">The stream ends within a frame, or is none of these.</exception>
    public static async ValueTask<(T? Head, int TextBytes)> ReadHeadAsync<T>(
        PipeReader input, JsonTypeInfo<T> type, CancellationToken token)
        where T : class
    {
        ReadResult start = await input.ReadAtLeastAsync(sizeof(int), token);
        input.AdvanceTo(start.Buffer.Start); // looked at only
        if (start.Buffer.IsEmpty)
        {
            return (null, 0);
        }

        int length = await ReadLengthAsync(input, LongestHead, token);
        ReadResult read = await input.ReadAtLeastAsync(Math.Max(length, 1), token);
        if (read.Buffer.Length < length)
        {
            input.AdvanceTo(read.Buffer.End);
            throw Short();
        }

        T? head;
        try
        {
            var json = new Utf8JsonReader(read.Buffer.Slice(0, length));
            head = JsonSerializer.Deserialize(ref json, type);
        }
        catch (JsonException e)
        {
            throw new InvalidDataException("the head of a message cannot be read", e);
        }

        input.AdvanceTo(read.Buffer.GetPosition(length));
        return (head ?? throw new InvalidDataException("a message has no head"), await ReadLengthAsync(input, LongestText, token));
    }

    /// <summary>Hands the text on in runs, each when the one before has been taken.</summary>
    public static async ValueTask ReadTextAsync(
        PipeReader input, int textBytes, Func<ReadOnlySequence<byte>, Task> take, CancellationToken token)
    {
        while (textBytes > 0)
        {
            ReadResult read = await input.ReadAsync(token);
            ReadOnlySequence<byte> run = read.Buffer.Slice(0, Math.Min(textBytes, read.Buffer.Length));
            if (run.IsEmpty && read.IsCompleted)
            {
                throw Short();
            }

            await take(run);
            textBytes -= (int)run.Length;
            input.AdvanceTo(run.End);
        }
    }

    private static async ValueTask<int> ReadLengthAsync(PipeReader input, int longest, CancellationToken token)
    {
        ReadResult read = await input.ReadAtLeastAsync(sizeof(int), token);
        if (read.Buffer.Length < sizeof(int))
        {
            input.AdvanceTo(read.Buffer.End);
            throw Short();
        }

        byte[] bytes = read.Buffer.Slice(0, sizeof(int)).ToArray();
        input.AdvanceTo(read.Buffer.GetPosition(sizeof(int)));
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        return length <= longest ? (int)length : throw new InvalidDataException($"a length of {length} is too much");
    }

    private static void WriteLength(IBufferWriter<byte> output, int length)
    {
        BinaryPrimitives.WriteInt32LittleEndian(output.GetSpan(sizeof(int)), length);
        output.Advance(sizeof(int));
    }

    private static InvalidDataException Short() => new("the messages end in the middle of one");
}

/// <summary>A message that leaves a maildrop. Immutable.</summary>
/// <param name="Uid">Its number in the maildrop.</param>
/// <param name="UniqueId">As POP3's UIDL tells it.</param>
/// <param name="ArrivalSeconds">Since 1970 UTC.</param>
/// <param name="ReversePath">Of its envelope; empty for the null reverse-path.</param>
/// <param name="IsDamaged">Its checksum fails: there is no text.</param>
internal sealed record ExportedMessage(ulong Uid, string UniqueId, long ArrivalSeconds, string ReversePath, bool IsDamaged);

/// <summary>A message that comes into a maildrop. Immutable.</summary>
/// <param name="UniqueId">The one it had; null when its source knows none.</param>
/// <param name="ArrivalSeconds">Since 1970 UTC; null when its source does not tell.</param>
/// <param name="ReversePath">Of its envelope, as far as it is known.</param>
internal sealed record ImportedMessage(string? UniqueId, long? ArrivalSeconds, string ReversePath);

/// <summary>What became of one imported message. Immutable.</summary>
/// <param name="Outcome">One of <see cref="ImportOutcome"/>.</param>
/// <param name="UniqueId">The one that it has now; null when it is not there.</param>
internal sealed record ImportResult(ImportOutcome Outcome, string? UniqueId);

/// <summary>How the import of one message ended.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ImportOutcome>))]
internal enum ImportOutcome
{
    /// <summary>It is there, under its unique-id if it had one.</summary>
    Added,

    /// <summary>It is there, but its unique-id could not be kept.</summary>
    Renamed,

    /// <summary>A message with its unique-id was there already.</summary>
    Present,

    /// <summary>It holds a NUL; it was not taken.</summary>
    Damaged,

    /// <summary>The disk is full.</summary>
    NoSpace,

    /// <summary>A write or flush failed.</summary>
    Failed,
}

/// <summary>One maildrop in the list. Immutable.</summary>
/// <param name="Address">Of its account.</param>
/// <param name="MailboxId">Its number in the log.</param>
/// <param name="Messages">How many it holds.</param>
/// <param name="Octets">Their sizes together, as POP3 tells them.</param>
/// <param name="QuotaMessages">Most messages, 0 for no limit.</param>
/// <param name="QuotaOctets">Most octets, 0 for no limit.</param>
/// <param name="RetentionDays">Days a message stays, 0 for ever.</param>
/// <param name="UidValidity">Of the store; for mail programs that want one.</param>
internal sealed record MaildropSummary(
    string Address, ulong MailboxId, int Messages, long Octets, long QuotaMessages, long QuotaOctets, int RetentionDays,
    uint UidValidity);

/// <summary>The maildrop of an account that was removed, with mail in it. Immutable.</summary>
/// <param name="MailboxId">Its number in the log.</param>
/// <param name="Address">Of its account; null when that is not known.</param>
/// <param name="Removed">When the account was removed; null when that is not known.</param>
/// <param name="Messages">How many it holds.</param>
/// <param name="Octets">Their sizes together, as POP3 tells them.</param>
/// <param name="UidValidity">Of the store; for mail programs that want one.</param>
internal sealed record RemovedMaildrop(
    ulong MailboxId, string? Address, DateTimeOffset? Removed, int Messages, long Octets, uint UidValidity);

/// <summary>What was removed for good. Immutable.</summary>
/// <param name="Messages">How many.</param>
/// <param name="Octets">Their sizes together, as POP3 told them.</param>
internal sealed record PurgeResult(int Messages, long Octets);
