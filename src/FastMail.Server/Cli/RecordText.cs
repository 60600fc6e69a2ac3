using System.Globalization;
using System.Text;
using FastMail.Server.Control;
using FastMail.Storage;

namespace FastMail.Server.Cli;

/// <summary>Findings of a log inspection for people, one line each. Stateless.</summary>
internal static class RecordText
{
    private const long MostMicros = 253_402_300_799_999_999; // the end of the year 9999

    public static string Of(LogFinding finding) => finding switch
    {
        LogProblem problem => Of(problem),
        LogRecord record => Of(record),
        _ => throw new ArgumentException("neither record nor problem", nameof(finding)),
    };

    public static string Of(LogProblem problem) =>
        $"{ClassOf(problem)} {problem.Path} offset {problem.Offset} lsn 0x{problem.Lsn:x} "
        + $"bytes {problem.Bytes} {KindOf(problem.Kind)}: {problem.Text}";

    private static string ClassOf(LogProblem problem) =>
        problem.IsDamage ? "damaged" : problem.Kind == LogProblemKind.TornTail ? "torn" : "unused";

    public static string Of(LogInspector log, LogTally tally)
    {
        var text = new StringBuilder();
        text.Append($"segments       {log.Segments,14} {log.TotalBytes,16} bytes\n");
        foreach (SegmentLine segment in SegmentLine.Of(log, tally))
        {
            text.Append($"  {segment.Name} {segment.Bytes,12} bytes, ");
            text.Append($"live {segment.Count.Live.Number} ({segment.Count.Live.Bytes} bytes), ");
            text.Append($"dead {segment.Count.Dead.Number} ({segment.Count.Dead.Bytes} bytes)\n");
        }

        text.Append($"body files     {log.Bodies.Number,14} {log.Bodies.Bytes,16} bytes\n");
        text.Append($"records        {tally.Records.Number,14} {tally.Records.Bytes,16} bytes\n");
        foreach ((RecordType type, LogCount count) in tally.Types)
        {
            text.Append($"  {TypeOf(type),-13}{count.Number,14} {count.Bytes,16} bytes\n");
        }

        text.Append($"live messages  {tally.Live.Number,14} {tally.Live.Bytes,16} bytes\n");
        text.Append($"dead messages  {tally.Dead.Number,14} {tally.Dead.Bytes,16} bytes\n");
        text.Append($"to be relayed  {tally.QueuedMessages,14} {tally.QueuedRecipients,16} recipients\n");
        text.Append($"mailboxes      {tally.Mailboxes,14} {tally.FilledMailboxes,16} with mail\n");
        text.Append($"seq            {tally.FirstSeq} to {tally.LastSeq}\n");
        text.Append($"lsn            0x{tally.FirstLsn:x} to 0x{tally.EndLsn:x}\n");
        string end = tally.TornBytes > 0 ? $"a torn tail of {tally.TornBytes} bytes, never acknowledged"
            : tally.IsClean ? "closed in order" : "not closed in order";
        text.Append($"end            {end}\n");
        foreach (LogCheckpoint checkpoint in log.Checkpoints)
        {
            text.Append($"{Of(checkpoint)}\n");
        }

        return text.ToString();
    }

    public static string TypeOf(RecordType type) =>
        Enum.IsDefined(type) ? type.ToString().ToLowerInvariant() : ((int)type).ToString(CultureInfo.InvariantCulture);

    /// <summary>The kind's name as it is everywhere outside the program, e.g. <c>torn-tail</c>.</summary>
    public static string KindOf(LogProblemKind kind)
    {
        var text = new StringBuilder();
        foreach (char c in kind.ToString())
        {
            text.Append(char.IsAsciiLetterUpper(c) && text.Length > 0 ? "-" : "").Append(char.ToLowerInvariant(c));
        }

        return text.ToString();
    }

    public static string TimeOf(LogRecord record) => TimeOf(record.TimestampMicros);

    public static string TimeOf(long micros) =>
        DateTime.UnixEpoch.AddTicks(Math.Clamp(micros, 0, MostMicros) * TimeSpan.TicksPerMicrosecond)
            .ToString("yyyy-MM-ddTHH:mm:ss.ffffffZ", CultureInfo.InvariantCulture);

    /// <summary>What a running server adds to the statistics, whole lines.</summary>
    public static string Of(ServerStatus server) =>
        $"server     process {server.ProcessId}, {server.Records} records in {server.Groups} flushes since its start, "
        + $"{server.PendingBytes} bytes waiting{(server.IsSpaceLow ? ", disk space low" : "")}"
        + $"{(server.HasFailed ? ", failed" : "")}\n"
        + (server.Scrub is { } scrub ? Of(scrub) : "");

    private static string Of(ScrubStatus scrub) =>
        $"scrubbed   {scrub.Bytes} bytes since its start, "
        + (scrub.PassEnded is { } ended ? $"all of it {scrub.Passes} times, last {ended:yyyy-MM-ddTHH:mm:ssZ}, " : "")
        + (scrub.Problems == 0 ? "no damage\n" : $"{scrub.Problems} DAMAGES: see the server's log, fastmail log verify\n");

    public static TimeSpan AgeOf(LogCheckpoint checkpoint) =>
        TimeProvider.System.GetUtcNow() - DateTimeOffset.UnixEpoch.AddMicroseconds(checkpoint.CreatedMicros);

    /// <summary>A checkpoint on one line.</summary>
    public static string Of(LogCheckpoint checkpoint) =>
        checkpoint.Problem is { } problem
            ? $"damaged checkpoint {checkpoint.Path}: {problem}; no mail is affected, the next start goes without it"
            : $"checkpoint {checkpoint.Path} lsn 0x{checkpoint.Lsn:x} of {TimeOf(checkpoint.CreatedMicros)}, "
                + $"{(long)AgeOf(checkpoint).TotalSeconds} s ago, {checkpoint.Messages} messages in "
                + $"{checkpoint.Mailboxes} mailboxes"
                + (checkpoint.QueuedMessages > 0 ? $", {checkpoint.QueuedMessages} to be relayed" : "");

    private static string Of(LogRecord record)
    {
        var text = new StringBuilder();
        text.Append($"0x{record.Lsn:x16} {record.Seq} {TimeOf(record)} {TypeOf(record.Type)} {record.Bytes}");
        switch (record.Type)
        {
            case RecordType.Message:
                AppendMessage(text, record);
                break;
            case RecordType.Expunge:
                AppendExpunge(text, record);
                break;
            case RecordType.QueueState:
                AppendChanges(text, record);
                break;
            case RecordType.Group when record.TryReadGroup(out GroupMeta group):
                text.Append($" group={group.GroupNo} records={group.RecordCount} durable=0x{group.DurableLsn:x}");
                text.Append(record.IsCleanEnd ? " clean-end" : "");
                break;
        }

        return text.ToString();
    }

    /// <summary>Each change on its own, as <c>state=seq/recipient</c> with what is not as in the beginning.</summary>
    private static void AppendChanges(StringBuilder text, LogRecord record)
    {
        List<LoggedQueueChange> changes = [];
        _ = record.ReadQueueChanges(changes);
        foreach (LoggedQueueChange change in changes)
        {
            string recipient = change.Recipient == QueueChange.AllRecipients
                ? "all"
                : change.Recipient.ToString(CultureInfo.InvariantCulture);
            text.Append($" {LogJson.NameOf(change.State)}={change.Seq}/{recipient}");
            text.Append(change.Attempts > 0 ? $" attempts={change.Attempts}" : "");
            text.Append(change.DueMicros != 0 ? $" due={TimeOf(change.DueMicros)}" : "");
            text.Append(change.IsDelayTold ? " delay-told" : "");
            text.Append(change.ForwardPath.Length > 0 ? $" to=<{Shown(change.ForwardPath)}>" : "");
            text.Append(change.Route.Length > 0 ? $" route={Shown(change.Route)}" : "");
            text.Append(change.Tls.Length > 0 ? $" tls={Shown(change.Tls)}" : "");
            text.Append(change.Text.Length > 0 ? $" text={Shown(change.Text)}" : "");
            text.Append(change.OriginLsn != 0 ? $" repeats=0x{change.OriginLsn:x}" : "");
        }
    }

    private static void AppendMessage(StringBuilder text, LogRecord record)
    {
        text.Append($" octets={record.Octets} trace={record.TraceBytes} body={record.BodyBytes}");
        text.Append(record.Body is { } body ? $" file={body.FileName}" : "");
        text.Append(" from=<").Append(Shown(record.ReadText(MetaType.ReversePath) ?? "")).Append('>');
        foreach (LogRecipient to in record.ReadRecipients())
        {
            text.Append(" to=<").Append(Shown(to.Address)).Append('>');
            text.Append(to.MailboxId is { } mailboxId ? $"({mailboxId}/{to.Uid})" : "(relay)");
        }

        (string Name, MetaType Type)[] fields =
        [
            ("id", MetaType.TransactionId), ("client", MetaType.ClientAddress), ("helo", MetaType.Helo),
            ("auth", MetaType.AuthIdentity), ("tls", MetaType.Tls),
        ];
        foreach ((string name, MetaType type) in fields)
        {
            if (record.ReadText(type) is { } value)
            {
                text.Append($" {name}=").Append(Shown(value));
            }
        }

        if (record.MessageFlags != MessageFlags.None)
        {
            text.Append($" flags={string.Join(',', LogJson.NamesOf(record.MessageFlags))}");
        }

        AppendChanges(text, record);
    }

    private static void AppendExpunge(StringBuilder text, LogRecord record)
    {
        List<UidRange> ranges = [];
        if (record.TryReadExpunge(out ulong mailboxId, out ExpungeReason reason, ranges))
        {
            IEnumerable<string> uids =
                ranges.Select(r => r.Count == 1 ? $"{r.First}" : $"{r.First}-{r.First + r.Count - 1}");
            text.Append($" mailbox={mailboxId} uids={string.Join(',', uids)} reason={LogJson.NameOf(reason)}");
        }
    }

    /// <summary>What a stranger sent, so that it can neither break the line nor drive the terminal.</summary>
    private static string Shown(string value)
    {
        if (!value.AsSpan().ContainsAnyExceptInRange('!', '~') && !value.Contains('\\', StringComparison.Ordinal))
        {
            return value;
        }

        var text = new StringBuilder();
        foreach (char c in value)
        {
            bool isPlain = c > ' ' && !char.IsControl(c) && CharUnicodeInfo.GetUnicodeCategory(c)
                is not (UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
            text.Append(c == '\\' ? @"\\" : isPlain ? c.ToString() : $"\\u{(int)c:x4}");
        }

        return text.ToString();
    }
}
