using System.Globalization;
using FastMail.Server.Queue;

namespace FastMail.Server.Cli;

/// <summary>The queue as people read it. Stateless.</summary>
internal static class QueueText
{
    public static void Write(TextWriter output, QueueEntry entry)
    {
        string redirected = entry.RedirectedFrom is { } was ? $" (was <{was}>)" : "";
        output.WriteLine(
            $"{entry.Id} {entry.State,-8} {Text(entry.Arrived)} {entry.Octets,9}  <{Clean(entry.From)}> -> "
            + $"<{Clean(entry.To)}>{Clean(redirected)}");
        string? more = Join(Attempts(entry.Attempts), Due(entry.Due), entry.Reply);
        if (more is not null)
        {
            output.WriteLine("    " + Clean(more));
        }
    }

    public static void Write(TextWriter output, QueueMessage message, bool isWhole)
    {
        output.WriteLine($"{message.Id} from <{Clean(message.From)}>, {message.Octets} octets, record {message.Seq}");
        string? by = Join(
            $"received {Text(message.Arrived)}",
            message.Client is null ? null : $"from {message.Client}",
            message.Helo is null ? null : $"helo {message.Helo}",
            message.Authenticated is null ? null : $"logged in as {message.Authenticated}",
            message.Tls,
            message.ReleaseAt is { } release ? $"to go at {Text(release)}" : null,
            message.Priority is null ? null : $"priority {message.Priority}",
            message.EnvelopeId is null ? null : $"envid {message.EnvelopeId}");
        output.WriteLine("  " + Clean(by!));
        foreach (QueueStanding recipient in message.Recipients)
        {
            string? place = recipient.Place is { } p ? Join(p.Doing, p.Destination is null ? null : $"next hop {p.Destination}") : null;
            string? notify = recipient.Notify is null ? null : $"notify {recipient.Notify}";
            string more = Join(Attempts(recipient.Attempts), Due(recipient.Due), place, notify) is { } text ? ", " + text : "";
            output.WriteLine(Clean($"  <{recipient.To}> {recipient.State}{more}"));
        }

        foreach (QueueStep step in isWhole ? message.Steps : [])
        {
            string to = step.To is { } address ? $" <{address}>" : "";
            string due = step.Due is null ? "" : ", " + Due(step.Due);
            string said = step.Text is null ? "" : ": " + step.Text;
            string tls = step.Tls is null ? "" : "; " + step.Tls;
            output.WriteLine(Clean($"  {Text(step.Time)} {step.State}{to}{due}{said}{tls}"));
        }
    }

    public static void Write(TextWriter output, QueueStats stats, DateTimeOffset now)
    {
        string oldest = stats.Oldest is { } time ? $", the oldest received {Text(time)} ({Age(now - time)} ago)" : "";
        output.WriteLine($"{stats.Messages} messages, {stats.Recipients} recipients{oldest}");
        output.WriteLine($"{stats.Ready} ready, {stats.Deferred} deferred, {stats.Held} held");
        if (stats.Totals is { } totals)
        {
            output.WriteLine(
                $"since the start: {totals.Delivered} delivered, {totals.Deferred} deferred, {totals.Failed} failed, "
                + $"{totals.InDoubt} in doubt, {totals.Notices} notifications");
        }

        foreach (QueueDomain domain in stats.Domains)
        {
            output.WriteLine(Clean(
                $"{domain.Recipients,9} {domain.Name} ({domain.Deferred} deferred, {domain.Held} held, oldest {Age(now - domain.Oldest)})"));
        }

        foreach (QueueDestination hop in stats.Destinations)
        {
            string blocked = hop.BlockedUntil is { } until ? $", not tried until {Text(until)}" : "";
            string failure = hop.LastFailure is null ? "" : ": " + hop.LastFailure;
            output.WriteLine(Clean(
                $"next hop {hop.Name}: {hop.Ready} ready, {hop.UnderWay} under way, {hop.Connections} of {hop.Concurrency} "
                + $"connections{blocked}{failure}"));
        }
    }

    public static string Of(QueueAction action, QueueActionResult result)
    {
        string done = action switch
        {
            QueueAction.Retry => "to be tried now",
            QueueAction.Hold => "held",
            QueueAction.Release => "released",
            QueueAction.Cancel => "cancelled",
            _ => "redirected",
        };
        string refused = action switch
        {
            QueueAction.Retry => "are held, by their senders or an operator: release them",
            QueueAction.Hold => "were held already",
            QueueAction.Release => "were not held",
            _ => "could not be treated so",
        };
        return Join(
            $"{result.Changed} recipients {done}",
            result.UnderWay > 0 ? $"{result.UnderWay} are being sent just now and were left alone" : null,
            result.Refused > 0 ? $"{result.Refused} {refused}" : null,
            result.Gone > 0 ? $"{result.Gone} had ended" : null)!;
    }

    /// <summary>What others have said must not move the terminal's cursor.</summary>
    public static string Clean(string text) =>
        text.Any(char.IsControl) ? string.Concat(text.Select(c => char.IsControl(c) ? ' ' : c)) : text;

    private static string Text(DateTimeOffset time) =>
        time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private static string Age(TimeSpan age) => age switch
    {
        { TotalMinutes: < 2 } => $"{Math.Max(0, (int)age.TotalSeconds)} s",
        { TotalHours: < 2 } => $"{(int)age.TotalMinutes} min",
        { TotalDays: < 2 } => $"{(int)age.TotalHours} h",
        _ => $"{(int)age.TotalDays} d",
    };

    private static string? Attempts(int attempts) =>
        attempts == 0 ? null : attempts == 1 ? "1 attempt" : $"{attempts} attempts";

    private static string? Due(DateTimeOffset? due) => due is { } time ? $"next {Text(time)}" : null;

    private static string? Join(params string?[] parts)
    {
        string text = string.Join(", ", parts.Where(p => !string.IsNullOrEmpty(p)));
        return text.Length == 0 ? null : text;
    }
}
