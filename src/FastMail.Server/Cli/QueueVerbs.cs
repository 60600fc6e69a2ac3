using System.CommandLine;
using System.Text.Json;
using FastMail.Server.Configuration;
using FastMail.Server.Control;
using FastMail.Server.Queue;
using FastMail.Storage;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Cli;

/// <summary>
/// <c>fastmail queue list|show|explain|stats|retry|hold|release|cancel|redirect</c>: mail that waits to be relayed, of a
/// running server or without one.
/// </summary>
internal sealed class QueueVerbs
{
    private readonly Option<string> _data;
    private readonly QueueSelectorOptions _selector = new();
    private readonly Argument<string> _message = new("ID") { Description = "The transaction id, as replies, logs and queue list name it." };
    private readonly Option<bool> _json = new("--json") { Description = "Print one JSON object." };
    private readonly Option<bool> _jsonLines = new("--json") { Description = "Print one JSON object a line." };
    private readonly Option<bool> _all = new("--all") { Description = "The whole queue." };
    private readonly Option<bool> _dryRun = new("--dry-run") { Description = "Only list what would be changed as it stands." };
    private readonly Option<bool> _notify = new("--notify") { Description = "The senders get a notification, as of a failure." };

    private readonly Option<string> _to = new("--to")
    {
        Description = "Where it goes instead.",
        HelpName = "ADDRESS",
        Required = true,
    };

    public QueueVerbs(Option<string> data) => _data = data;

    public Command Build()
    {
        var list = new Command("list", "Lists recipients that wait, those of older messages first.") { _jsonLines };
        _selector.AddTo(list);
        list.SetAction(parsed => Run(parsed, List));
        var show = new Command("show", "Shows a message with all of its recipients.") { _message, _json };
        show.SetAction(parsed => Guard(() => Show(parsed, isWhole: false)));
        var explain = new Command("explain", """
            Prints what has happened to a message: received, routed and by what rule, each attempt with the host, what it
            said, how the connection was protected and what verified the certificate, and the next one. What a running
            server has not tried yet, or would send elsewhere by now, is told with the route it would take at this moment.

            A message leaves the queue when its last recipient has ended. Then it is looked for in the log, which has it
            until its space is reclaimed; that takes as long as reading the log does.
            """)
        {
            _message,
            _json,
        };
        explain.SetAction(parsed => Guard(() => Show(parsed, isWhole: true)));
        var stats = new Command("stats", """
            Counts what waits, by domain, and what a running server does with it and has done since its start: recipients
            that were delivered, deferred (each time) and failed, those in doubt, whose reply was lost after the content
            had been sent, so that they may have the message and may get it twice, and notifications to senders.
            """) { _json };
        stats.SetAction(parsed => Run(parsed, Stats));
        return new Command("queue", "Looks at mail that waits to be relayed, and treats it.")
        {
            list,
            show,
            explain,
            stats,
            Action(QueueAction.Retry, "Tries them now. What is held stays held."),
            Action(QueueAction.Hold, "Does not try them until they are released."),
            Action(QueueAction.Release, """
                Tries now what was held: by an operator, or by its sender, who asked for a later time. What both hold is
                released for its sender's time first.
                """),
            Action(QueueAction.Cancel, "Ends them here. Nobody hears of it without --notify.", _notify),
            Action(QueueAction.Redirect, "Sends them to another address, now.", _to),
        };
    }

    private Command Action(QueueAction action, string about, Option? more = null)
    {
        var command = new Command(QueueRoutes.NameOf(action), $"""
            {about}

            Means the recipients that fit everything that is said, and answers when the change is durable. Exits with 66
            when a message that was named is not in the queue, and with 75 when some were left alone because they are
            being sent just now.
            """)
        {
            _all,
            _dryRun,
            _json,
        };
        _selector.AddTo(command);
        if (more is not null)
        {
            command.Add(more);
        }

        command.SetAction(parsed => Run(parsed, (p, queue) => Apply(p, queue, action)));
        return command;
    }

    private int Run(ParseResult parsed, Func<ParseResult, IQueueAccess, int> verb) => Guard(() =>
    {
        using IQueueAccess queue = QueueAccess.Open(parsed.GetRequiredValue(_data));
        return verb(parsed, queue);
    });

    private static int Guard(Func<int> verb)
    {
        try
        {
            return verb();
        }
        catch (NotSupportedException e)
        {
            return AccountEdit.Fail(ExitCode.TemporaryFailure, e.Message);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or HttpRequestException
            or SqliteException or SettingException)
        {
            return AccountEdit.Fail(LogVerbs.CodeOf(e), e.Message);
        }
    }

    private int List(ParseResult parsed, IQueueAccess queue)
    {
        QueueSelector selector = _selector.Read(parsed);
        if (selector.Flaw is { } flaw)
        {
            return AccountEdit.Fail(ExitCode.Usage, flaw);
        }

        if (parsed.GetValue(_jsonLines))
        {
            foreach (QueueEntry entry in queue.List(selector))
            {
                Console.Out.WriteLine(JsonSerializer.Serialize(entry, QueueJson.Default.QueueEntry));
            }

            return ExitCode.Ok;
        }

        int count = 0;
        foreach (QueueEntry entry in queue.List(selector))
        {
            QueueText.Write(Console.Out, entry);
            count++;
        }

        Console.Out.WriteLine(count == 1 ? "1 recipient" : $"{count} recipients");
        return ExitCode.Ok;
    }

    private int Show(ParseResult parsed, bool isWhole)
    {
        string id = parsed.GetRequiredValue(_message);
        using var interruption = new Interruption();
        if (Find(parsed.GetRequiredValue(_data), id, interruption) is not { } message)
        {
            return interruption.IsRequested
                ? AccountEdit.Fail(ExitCode.Interrupted, "interrupted; the log was not read to its end")
                : AccountEdit.Fail(
                    ExitCode.NoInput, $"there is no message {id} in the queue, and the log does not hold it (any more)");
        }

        if (parsed.GetValue(_json))
        {
            Console.Out.WriteLine(JsonSerializer.Serialize(isWhole ? message : message with { Steps = [] }, QueueJson.Default.QueueMessage));
        }
        else
        {
            QueueText.Write(Console.Out, message, isWhole);
        }

        return ExitCode.Ok;
    }

    /// <summary>In the queue, or in the log where that has forgotten it.</summary>
    private static QueueMessage? Find(string directory, string id, Interruption interruption)
    {
        using (IQueueAccess queue = QueueAccess.Open(directory))
        {
            if (queue.Find(id) is { } waiting)
            {
                return waiting;
            }
        }

        using LogAccess access = LogAccess.Open(directory);
        using var progress = new ProgressLine(access.Log.TotalBytes, TimeProvider.System);
        var message = new LoggedMessage(id);
        foreach (LogFinding finding in access.Log.Read(checkBodies: false))
        {
            if (finding is LogRecord record)
            {
                message.Take(record);
            }

            progress.Report(access.Log.ReadBytes + finding.Offset);
            if (interruption.IsRequested)
            {
                return null;
            }
        }

        return message.Read();
    }

    private int Stats(ParseResult parsed, IQueueAccess queue)
    {
        QueueStats stats = queue.Count();
        if (parsed.GetValue(_json))
        {
            Console.Out.WriteLine(JsonSerializer.Serialize(stats, QueueJson.Default.QueueStats));
        }
        else
        {
            QueueText.Write(Console.Out, stats, TimeProvider.System.GetUtcNow());
        }

        return ExitCode.Ok;
    }

    private int Apply(ParseResult parsed, IQueueAccess queue, QueueAction action)
    {
        QueueSelector selector = _selector.Read(parsed);
        string? to = action == QueueAction.Redirect ? parsed.GetRequiredValue(_to).Trim('<', '>') : null;
        if (to is not null && AccountEdit.MailboxOf(to) is null)
        {
            return AccountEdit.Fail(ExitCode.Usage, $"'{to}' is not an address, e.g. user@example.org");
        }

        if (selector.Flaw is { } flaw)
        {
            return AccountEdit.Fail(ExitCode.Usage, flaw);
        }

        if (selector.IsEmpty != parsed.GetValue(_all))
        {
            return AccountEdit.Fail(
                ExitCode.Usage, selector.IsEmpty ? "say which, or --all for the whole queue" : "--all stands alone");
        }

        if (selector.Ids.FirstOrDefault(id => !queue.List(new QueueSelector { Ids = [id] }).Any()) is { } unknown)
        {
            return AccountEdit.Fail(ExitCode.NoInput, $"there is no message {unknown} in the queue; nothing was changed");
        }

        if (parsed.GetValue(_dryRun))
        {
            return DryRun(queue, selector with { Would = action }, parsed.GetValue(_json));
        }

        bool notifies = action == QueueAction.Cancel && parsed.GetValue(_notify);
        QueueActionResult result = queue.Apply(action, selector, new QueueActionOptions(to, notifies));
        Console.Out.WriteLine(parsed.GetValue(_json)
            ? JsonSerializer.Serialize(result, QueueJson.Default.QueueActionResult)
            : QueueText.Of(action, result));
        return result.UnderWay > 0 ? ExitCode.TemporaryFailure : ExitCode.Ok;
    }

    private static int DryRun(IQueueAccess queue, QueueSelector selector, bool isJson)
    {
        int count = 0;
        foreach (QueueEntry entry in queue.List(selector))
        {
            if (isJson)
            {
                Console.Out.WriteLine(JsonSerializer.Serialize(entry, QueueJson.Default.QueueEntry));
            }
            else
            {
                QueueText.Write(Console.Out, entry);
            }

            count++;
        }

        Console.Error.WriteLine($"fastmail: {count} recipients would be changed; nothing was");
        return ExitCode.Ok;
    }
}

/// <summary>The arguments that say which recipients are meant. Stateless once it is made.</summary>
internal sealed class QueueSelectorOptions
{
    private readonly Argument<string[]> _ids = new("ID")
    {
        Description = "Transaction ids of messages.",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private readonly Option<string[]> _moreIds = new("--id") { Description = "The same; repeatable.", HelpName = "ID" };

    private readonly Option<string[]> _toDomains = new("--to-domain")
    {
        Description = "Recipients in this domain; repeatable.",
        HelpName = "DOMAIN",
    };

    private readonly Option<string?> _from = new("--from")
    {
        Description = "Mail from this address, from @domain, or from <>: notifications.",
        HelpName = "ADDRESS",
    };

    private readonly Option<TimeSpan> _age = CommandTree.Parsed(
        "--age", "TIME", "Mail received so long ago or longer, e.g. 30min, 4h, 2d.", "0",
        Values.Duration(TimeSpan.Zero, TimeSpan.FromDays(3650)));

    private readonly Option<string?> _reply = new("--reply")
    {
        Description = "What was said last holds this text.",
        HelpName = "TEXT",
    };

    private readonly Option<string?> _state = new("--state")
    {
        Description = "ready: to be tried now; deferred: later; held: not.",
        HelpName = "STATE",
    };

    public QueueSelectorOptions() => _state.AcceptOnlyFromAmong("ready", "deferred", "held");

    public void AddTo(Command command)
    {
        command.Add(_ids);
        command.Add(_moreIds);
        command.Add(_toDomains);
        command.Add(_from);
        command.Add(_age);
        command.Add(_reply);
        command.Add(_state);
    }

    public QueueSelector Read(ParseResult parsed) => new()
    {
        Ids = [.. parsed.GetValue(_ids) ?? [], .. parsed.GetValue(_moreIds) ?? []],
        ToDomains = [.. parsed.GetValue(_toDomains) ?? []],
        From = parsed.GetValue(_from) is { } from && from != "<>" ? from.Trim('<', '>') : parsed.GetValue(_from),
        Age = parsed.GetValue(_age),
        Reply = parsed.GetValue(_reply),
        State = parsed.GetValue(_state),
    };
}
