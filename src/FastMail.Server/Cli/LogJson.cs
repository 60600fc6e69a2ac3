using System.Text;
using System.Text.Json;
using FastMail.Storage;

namespace FastMail.Server.Cli;

/// <summary>Findings of a log inspection as JSON. Stateless.</summary>
internal static class LogJson
{
    /// <summary>One indented object on standard output.</summary>
    public static void Print(Action<Utf8JsonWriter> write)
    {
        using var output = new Utf8JsonWriter(Console.OpenStandardOutput(), new JsonWriterOptions { Indented = true });
        output.WriteStartObject();
        write(output);
        output.WriteEndObject();
        output.Flush();
        Console.Out.WriteLine();
    }

    /// <summary>One object on one line.</summary>
    public static string Line(LogFinding finding)
    {
        using var bytes = new MemoryStream();
        using (var output = new Utf8JsonWriter(bytes))
        {
            if (finding is LogProblem problem)
            {
                WriteProblem(output, problem);
            }
            else if (finding is LogRecord record)
            {
                WriteRecord(output, record);
            }
        }

        return Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }

    public static void WriteVerdict(Utf8JsonWriter output, LogInspector log, LogTally tally, List<LogProblem> problems)
    {
        output.WriteBoolean("isDamaged", tally.Damages > 0);
        output.WriteNumber("segments", log.Segments);
        output.WriteNumber("bytes", log.TotalBytes);
        output.WriteNumber("records", tally.Records.Number);
        output.WriteNumber("missingRecords", tally.MissingRecords);
        WriteCheckpoints(output, log);
        output.WriteStartArray("problems");
        foreach (LogProblem problem in problems)
        {
            WriteProblem(output, problem);
        }

        output.WriteEndArray();
    }

    public static void WriteStatistics(Utf8JsonWriter output, LogInspector log, LogTally tally)
    {
        output.WriteNumber("segments", log.Segments);
        output.WriteNumber("bytes", log.TotalBytes);
        output.WriteStartArray("segmentFiles");
        foreach (SegmentLine segment in SegmentLine.Of(log, tally))
        {
            output.WriteStartObject();
            output.WriteString("name", segment.Name);
            output.WriteNumber("bytes", segment.Bytes);
            WriteCount(output, "liveMessages", segment.Count.Live);
            WriteCount(output, "deadMessages", segment.Count.Dead);
            output.WriteEndObject();
        }

        output.WriteEndArray();
        WriteCount(output, "bodyFiles", log.Bodies);
        WriteCount(output, "records", tally.Records);
        output.WriteStartObject("types");
        foreach ((RecordType type, LogCount count) in tally.Types)
        {
            WriteCount(output, RecordText.TypeOf(type), count);
        }

        output.WriteEndObject();
        WriteCount(output, "liveMessages", tally.Live);
        WriteCount(output, "deadMessages", tally.Dead);
        output.WriteNumber("queuedMessages", tally.QueuedMessages);
        output.WriteNumber("queuedRecipients", tally.QueuedRecipients);
        output.WriteNumber("mailboxes", tally.Mailboxes);
        output.WriteNumber("filledMailboxes", tally.FilledMailboxes);
        output.WriteNumber("firstSeq", tally.FirstSeq);
        output.WriteNumber("lastSeq", tally.LastSeq);
        output.WriteNumber("firstLsn", tally.FirstLsn);
        output.WriteNumber("endLsn", tally.EndLsn);
        output.WriteNumber("tornBytes", tally.TornBytes);
        output.WriteBoolean("isClean", tally.IsClean && tally.TornBytes == 0);
        output.WriteNumber("damages", tally.Damages);
        output.WriteNumber("missingRecords", tally.MissingRecords);
        WriteCheckpoints(output, log);
    }

    /// <summary>Names of flags, as in the text and the JSON.</summary>
    public static IEnumerable<string> NamesOf(MessageFlags flags) =>
        Enum.GetValues<MessageFlags>()
            .Where(flag => flag != MessageFlags.None && flags.HasFlag(flag))
            .Select(flag => Camel(flag.ToString()));

    /// <summary>Name of a reason, as in the text and the JSON.</summary>
    public static string NameOf(ExpungeReason reason) => Camel(reason.ToString());

    public static string NameOf(QueueState state) => Camel(state.ToString());

    private static void WriteCheckpoints(Utf8JsonWriter output, LogInspector log)
    {
        output.WriteStartArray("checkpoints");
        foreach (LogCheckpoint checkpoint in log.Checkpoints)
        {
            output.WriteStartObject();
            output.WriteString("path", checkpoint.Path);
            output.WriteNumber("lsn", checkpoint.Lsn);
            output.WriteBoolean("isValid", checkpoint.Problem is null);
            output.WriteString("problem", checkpoint.Problem);
            output.WriteString("created", RecordText.TimeOf(checkpoint.CreatedMicros));
            output.WriteNumber("ageSeconds", (long)RecordText.AgeOf(checkpoint).TotalSeconds);
            output.WriteNumber("mailboxes", checkpoint.Mailboxes);
            output.WriteNumber("messages", checkpoint.Messages);
            output.WriteNumber("queuedMessages", checkpoint.QueuedMessages);
            output.WriteEndObject();
        }

        output.WriteEndArray();
    }

    private static void WriteCount(Utf8JsonWriter output, string name, LogCount count)
    {
        output.WriteStartObject(name);
        output.WriteNumber("number", count.Number);
        output.WriteNumber("bytes", count.Bytes);
        output.WriteEndObject();
    }

    private static void WriteProblem(Utf8JsonWriter output, LogProblem problem)
    {
        output.WriteStartObject();
        output.WriteString("problem", RecordText.KindOf(problem.Kind));
        output.WriteBoolean("isDamage", problem.IsDamage);
        output.WriteString("path", problem.Path);
        output.WriteNumber("offset", problem.Offset);
        output.WriteNumber("lsn", problem.Lsn);
        output.WriteNumber("bytes", problem.Bytes);
        output.WriteNumber("missingRecords", problem.MissingRecords);
        output.WriteString("text", problem.Text);
        output.WriteEndObject();
    }

    private static void WriteRecord(Utf8JsonWriter output, LogRecord record)
    {
        output.WriteStartObject();
        output.WriteString("type", RecordText.TypeOf(record.Type));
        output.WriteNumber("lsn", record.Lsn);
        output.WriteNumber("seq", record.Seq);
        output.WriteString("time", RecordText.TimeOf(record));
        output.WriteNumber("bytes", record.Bytes);
        switch (record.Type)
        {
            case RecordType.Message:
                WriteMessage(output, record);
                break;
            case RecordType.Expunge:
                WriteExpunge(output, record);
                break;
            case RecordType.QueueState:
                WriteChanges(output, record);
                break;
            case RecordType.Group when record.TryReadGroup(out GroupMeta group):
                output.WriteNumber("group", group.GroupNo);
                output.WriteNumber("records", group.RecordCount);
                output.WriteNumber("durableLsn", group.DurableLsn);
                output.WriteBoolean("isCleanEnd", record.IsCleanEnd);
                break;
        }

        output.WriteEndObject();
    }

    private static void WriteMessage(Utf8JsonWriter output, LogRecord record)
    {
        output.WriteNumber("octets", record.Octets);
        output.WriteNumber("traceBytes", record.TraceBytes);
        output.WriteNumber("bodyBytes", record.BodyBytes);
        if (record.Body is { } body)
        {
            output.WriteString("bodyFile", body.FileName);
        }

        output.WriteString("reversePath", record.ReadText(MetaType.ReversePath));
        output.WriteStartArray("recipients");
        foreach (LogRecipient recipient in record.ReadRecipients())
        {
            output.WriteStartObject();
            output.WriteString("address", recipient.Address);
            if (recipient is { MailboxId: { } mailboxId, Uid: { } uid })
            {
                output.WriteNumber("mailboxId", mailboxId);
                output.WriteNumber("uid", uid);
            }

            output.WriteEndObject();
        }

        output.WriteEndArray();
        output.WriteString("transactionId", record.ReadText(MetaType.TransactionId));
        output.WriteString("client", record.ReadText(MetaType.ClientAddress));
        output.WriteString("helo", record.ReadText(MetaType.Helo));
        output.WriteString("auth", record.ReadText(MetaType.AuthIdentity));
        output.WriteString("tls", record.ReadText(MetaType.Tls));
        output.WriteStartArray("flags");
        foreach (string name in NamesOf(record.MessageFlags))
        {
            output.WriteStringValue(name);
        }

        output.WriteEndArray();
        WriteChanges(output, record);
    }

    private static void WriteChanges(Utf8JsonWriter output, LogRecord record)
    {
        List<LoggedQueueChange> changes = [];
        _ = record.ReadQueueChanges(changes);
        if (changes.Count == 0)
        {
            return;
        }

        output.WriteStartArray("changes");
        foreach (LoggedQueueChange change in changes)
        {
            output.WriteStartObject();
            output.WriteNumber("seq", change.Seq);
            if (change.Recipient != QueueChange.AllRecipients)
            {
                output.WriteNumber("recipient", change.Recipient);
            }

            output.WriteString("state", NameOf(change.State));
            output.WriteNumber("attempts", change.Attempts);
            if (change.DueMicros != 0)
            {
                output.WriteString("due", RecordText.TimeOf(change.DueMicros));
            }

            output.WriteBoolean("isDelayTold", change.IsDelayTold);
            output.WriteString("text", change.Text);
            output.WriteString("forwardPath", change.ForwardPath.Length > 0 ? change.ForwardPath : null);
            if (change.Route.Length > 0)
            {
                output.WriteString("route", change.Route);
            }

            if (change.Tls.Length > 0)
            {
                output.WriteString("tls", change.Tls);
            }

            output.WriteNumber("previousLsn", change.PreviousLsn);
            output.WriteNumber("originLsn", change.OriginLsn);
            output.WriteEndObject();
        }

        output.WriteEndArray();
    }

    private static void WriteExpunge(Utf8JsonWriter output, LogRecord record)
    {
        List<UidRange> ranges = [];
        if (!record.TryReadExpunge(out ulong mailboxId, out ExpungeReason reason, ranges))
        {
            return;
        }

        output.WriteNumber("mailboxId", mailboxId);
        output.WriteString("reason", NameOf(reason));
        output.WriteStartArray("uids");
        foreach (UidRange range in ranges)
        {
            output.WriteStartObject();
            output.WriteNumber("first", range.First);
            output.WriteNumber("count", range.Count);
            output.WriteEndObject();
        }

        output.WriteEndArray();
    }

    private static string Camel(string name) => char.ToLowerInvariant(name[0]) + name[1..];
}
