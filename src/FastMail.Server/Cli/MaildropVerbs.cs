using System.Buffers;
using System.CommandLine;
using System.IO.Pipelines;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using FastMail.Server.Control;
using FastMail.Server.Maildrops;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Cli;

/// <summary><c>fastmail maildrop list|export|import|purge</c>, of a running server too.</summary>
internal sealed partial class MaildropVerbs
{
    private readonly Option<string> _data;
    private readonly Option<bool> _json = new("--json") { Description = "Print JSON." };
    private readonly Argument<string> _into = new("ADDRESS") { Description = "Whose maildrop." };
    private readonly Argument<string[]> _fromTo = new("ADDRESS PATH")
    {
        Description = "Whose maildrop, and the file or directory to be made; with --all or --mailbox only the latter.",
        Arity = new ArgumentArity(1, 2),
    };

    private readonly Argument<string> _source = new("PATH") { Description = "File or directory to be read." };
    private readonly Option<bool> _all = new("--all") { Description = "Every maildrop, each under its address in the directory PATH." };

    private readonly Option<string> _format = new("--format")
    {
        Description = "mbox: one file, mboxrd quoting. maildir: a directory with a file for each message.",
        Required = true,
    };

    private readonly Option<string> _lineEnds = new("--line-ends")
    {
        Description = "lf as mail programs on this system expect, or crlf as mail has it on the wire.",
        DefaultValueFactory = _ => "lf",
    };

    private readonly Option<bool> _skipPresent = new("--skip-present")
    {
        Description = "Leave out messages whose unique-id is there already, so that an import can be repeated. A message "
            + "without a unique-id, or with one that cannot be kept, gets one made from its content.",
    };

    private readonly Option<bool> _skipDamaged = new("--skip-damaged")
    {
        Description = "Tell of what is no message, and go on. Without it the import ends there.",
    };

    public MaildropVerbs(Option<string> data)
    {
        _data = data;
        _format.AcceptOnlyFromAmong("mbox", "maildir");
        _lineEnds.AcceptOnlyFromAmong("lf", "crlf");
    }

    public Command Build()
    {
        var list = new Command("list", "Lists the maildrops with their messages, octets and quotas.") { _removed, _json };
        list.SetAction(parsed => Run(parsed, (p, m) => p.GetValue(_removed) ? ListRemoved(p, m) : List(p, m)));
        var export = new Command("export", """
            Writes the messages of a maildrop to an mbox file or a Maildir, with their unique-ids.

            Nothing appears under PATH before it is complete. A damaged message is left out and told; the exit code is
            65 then.
            """)
        {
            _fromTo,
            _format,
            _all,
            _mailbox,
            _lineEnds,
            _json,
        };
        export.SetAction(parsed => Run(parsed, Export));
        var import = new Command("import", """
            Adds the messages of an mbox file or a Maildir to a maildrop.

            They keep their unique-ids (X-UIDL lines, dovecot-uidlist) unless another message has it, and their time of
            arrival. Any kind of line end becomes CRLF; nothing else is changed. Quotas are not asked.
            """)
        {
            _into,
            _source,
            _format,
            _skipPresent,
            _skipDamaged,
            _json,
        };
        import.SetAction(parsed => Run(parsed, Import));
        return new Command("maildrop", "Lists, exports, imports and purges maildrops.") { list, export, import, BuildPurge() };
    }

    private int Run(ParseResult parsed, Func<ParseResult, IMaildropAccess, int> verb)
    {
        try
        {
            using IMaildropAccess maildrops = MaildropAccess.Open(parsed.GetRequiredValue(_data));
            return verb(parsed, maildrops);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException
            or HttpRequestException or SqliteException or Configuration.SettingException)
        {
            return Fail(LogVerbs.CodeOf(e), e.Message);
        }
    }

    private int List(ParseResult parsed, IMaildropAccess maildrops)
    {
        MaildropSummary[] all = maildrops.List();
        if (parsed.GetValue(_json))
        {
            WriteJson(all, ControlJson.Default.MaildropSummaryArray);
            return ExitCode.Ok;
        }

        foreach (MaildropSummary maildrop in all)
        {
            string quota = maildrop is { QuotaMessages: 0, QuotaOctets: 0 }
                ? "no quota"
                : $"of {Most(maildrop.QuotaMessages)} messages, {Most(maildrop.QuotaOctets)} octets";
            Console.Out.WriteLine($"{maildrop.Address,-40} {maildrop.Messages,9} {maildrop.Octets,14}  {quota}");
        }

        return ExitCode.Ok;

        static string Most(long amount) => amount == 0 ? "any number of" : $"{amount}";
    }

    private int Export(ParseResult parsed, IMaildropAccess maildrops)
    {
        string[] fromTo = parsed.GetRequiredValue(_fromTo);
        string? address = fromTo.Length == 2 ? fromTo[0].ToLowerInvariant() : null;
        bool isAll = parsed.GetValue(_all);
        ulong? mailbox = parsed.GetValue(_mailbox);
        if ((isAll ? 1 : 0) + (mailbox is null ? 0 : 1) + (address is null ? 0 : 1) != 1)
        {
            return Fail(ExitCode.Usage, "name an ADDRESS and a PATH, or give --all or --mailbox and a PATH");
        }

        MaildropSummary[] chosen = mailbox is null
            ? [.. maildrops.List().Where(m => isAll || m.Address == address)]
            : [.. maildrops.ListRemoved().Where(m => m.MailboxId == mailbox).Select(SummaryOf)];
        if (chosen.Length == 0 && !isAll)
        {
            return Fail(ExitCode.NoUser, mailbox is null ? $"there is no account {address}" : NoRemoved(mailbox.Value));
        }

        string target = fromTo[^1];
        if (isAll)
        {
            Accounts.AccountStore.MakeDirectory(Path.GetFullPath(target));
        }

        using var interruption = new Interruption();
        using var progress = new ProgressLine(chosen.Sum(m => m.Octets), TimeProvider.System);
        var report = new TransferReport(parsed.GetValue(_json));
        foreach (MaildropSummary maildrop in chosen)
        {
            string path = isAll ? Path.Join(target, FileNameOf(maildrop.Address)) : target;
            if (Path.Exists(path))
            {
                return Fail(ExitCode.CannotCreate, $"{path} exists already");
            }

            using IMessageWriter writer = parsed.GetValue(_format) == "mbox"
                ? new MboxWriter(path, parsed.GetValue(_lineEnds) == "crlf")
                : new MaildirWriter(path, parsed.GetValue(_lineEnds) == "crlf", maildrop.UidValidity);
            if (!Export(maildrops, maildrop, writer, report, progress, interruption))
            {
                progress.Clear();
                return Fail(ExitCode.Interrupted, $"interrupted; {path} was not made");
            }

            writer.Complete();
        }

        progress.Clear();
        return report.End("exported");
    }

    private static bool Export(
        IMaildropAccess maildrops, MaildropSummary maildrop, IMessageWriter writer, TransferReport report,
        ProgressLine progress, Interruption interruption)
    {
        using Stream stream = maildrops.Export(maildrop);
        PipeReader frames = PipeReader.Create(stream);
        byte[] text = [];
        int messages = 0;
        while (!interruption.IsRequested)
        {
            (ExportedMessage? message, int length) = Frames.ReadHeadAsync(
                frames, ControlJson.Default.ExportedMessage, CancellationToken.None).AsTask().GetAwaiter().GetResult();
            if (message is null)
            {
                return true;
            }

            text = text.Length < length ? new byte[Math.Max(length, 1 << 16)] : text;
            int filled = 0;
            Frames.ReadTextAsync(
                frames,
                length,
                run =>
                {
                    run.CopyTo(text.AsSpan(filled));
                    filled += (int)run.Length;
                    return Task.CompletedTask;
                },
                CancellationToken.None).AsTask().GetAwaiter().GetResult();
            messages++;
            if (message.IsDamaged)
            {
                progress.Clear();
                report.Damaged($"{maildrop.Address}: message {messages} ({message.UniqueId}) is damaged and left out");
                continue;
            }

            writer.Add(message, text.AsSpan(0, length));
            report.Done(length);
            progress.Report(report.Octets);
        }

        return false;
    }

    private int Import(ParseResult parsed, IMaildropAccess maildrops)
    {
        string address = parsed.GetRequiredValue(_into).ToLowerInvariant();
        string source = parsed.GetRequiredValue(_source);
        bool isMbox = parsed.GetValue(_format) == "mbox";
        MaildropSummary? maildrop = Array.Find(maildrops.List(), m => m.Address == address);
        if (maildrop is null)
        {
            return Fail(ExitCode.NoUser, $"there is no account {address}");
        }

        if (isMbox ? !File.Exists(source) : !Directory.Exists(Path.Join(source, "cur")) && !Directory.Exists(Path.Join(source, "new")))
        {
            return Fail(ExitCode.NoInput, $"{source} is no {(isMbox ? "mbox file" : "Maildir: it has neither cur nor new")}");
        }

        using var interruption = new Interruption();
        using var progress = new ProgressLine(isMbox ? new FileInfo(source).Length : Maildir.BytesIn(source), TimeProvider.System);
        var report = new TransferReport(parsed.GetValue(_json));
        var batches = new ImportBatches(maildrops, maildrop, parsed.GetValue(_skipPresent), report);
        foreach (SourceMessage message in isMbox ? Mbox.Read(source) : Maildir.Read(source))
        {
            if (message.Damage is { } why)
            {
                progress.Clear();
                report.Damaged($"{message.Place}: {why}");
                if (!parsed.GetValue(_skipDamaged))
                {
                    break;
                }

                continue;
            }

            if (!batches.Add(message, parsed.GetValue(_skipDamaged)) || interruption.IsRequested)
            {
                break;
            }

            progress.Report(report.Octets);
        }

        batches.Send(parsed.GetValue(_skipDamaged));
        progress.Clear();
        int code = report.End("imported");
        return interruption.IsRequested ? Fail(ExitCode.Interrupted, "interrupted; what is told was imported") : code;
    }

    /// <summary>An address may hold any character; a file name of it must stay in its directory.</summary>
    private static string FileNameOf(string address)
    {
        var name = new System.Text.StringBuilder();
        foreach (byte octet in System.Text.Encoding.UTF8.GetBytes(address))
        {
            bool isPlain = char.IsAsciiLetterOrDigit((char)octet) || "@._+-".Contains((char)octet, StringComparison.Ordinal);
            name.Append(isPlain && (name.Length > 0 || octet != '.') ? ((char)octet).ToString() : $"%{octet:X2}");
        }

        return name.ToString();
    }

    private static void WriteJson<T>(T value, JsonTypeInfo<T> type)
    {
        using var output = new Utf8JsonWriter(Console.OpenStandardOutput(), new JsonWriterOptions { Indented = true });
        JsonSerializer.Serialize(output, value, type);
        output.Flush();
        Console.Out.WriteLine();
    }

    private static int Fail(int code, string message)
    {
        Console.Error.WriteLine($"fastmail: {message}");
        return code;
    }
}
