using System.CommandLine;
using System.Globalization;
using System.IO.Pipelines;
using System.Text;
using FastMail.Server.Control;
using FastMail.Server.Queue;
using FastMail.Server.Receive;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Cli;

/// <summary>
/// <c>fastmail sendmail</c> and <c>fastmail mailq</c>, also under these names: what programs of this machine call to send
/// mail and to see the queue.
/// </summary>
internal sealed class SendmailVerbs
{
    private const string Verb = "sendmail";

    private readonly Option<string> _data;
    private readonly Argument<string[]> _words = new("ARGUMENT")
    {
        Description = "Those of sendmail, which has a syntax of its own.",
        Arity = ArgumentArity.ZeroOrMore,
    };

    public SendmailVerbs(Option<string> data) => _data = data;

    /// <summary>The verb for the name under which the program was called, null for its own.</summary>
    public static string? VerbOf(string calledAs) => Path.GetFileName(calledAs) switch
    {
        Verb => Verb,
        "mailq" => "mailq",
        _ => null,
    };

    /// <summary>
    /// What the command line parser is to read: the words behind sendmail are hidden from it, which would take some of
    /// them for its own, such as the hop count -h. Long options directly behind the verb are still the program's.
    /// </summary>
    /// <param name="calledAs">The name by which the program was called.</param>
    /// <param name="words">What came behind it.</param>
    public static string[] Hide(string calledAs, string[] words)
    {
        if (VerbOf(calledAs) is { } verb)
        {
            return verb == Verb ? [verb, "--", .. words] : [verb, .. words];
        }

        int at = EndOfLongOptions(words, 0);
        if (at >= words.Length || words[at] != Verb)
        {
            return words;
        }

        at = EndOfLongOptions(words, at + 1);
        return [.. words[..at], "--", .. words[at..]];
    }

    private static int EndOfLongOptions(string[] words, int start)
    {
        int at = start;
        while (at < words.Length && words[at].Length > 2 && words[at].StartsWith("--", StringComparison.Ordinal))
        {
            at += words[at] == "--data" ? 2 : 1;
        }

        return Math.Min(at, words.Length);
    }

    public Command BuildSendmail()
    {
        var command = new Command(Verb, """
            Sends the message on standard input to the addresses given, and with -t to those of its To, Cc and Bcc: Bcc
            is taken out. -i: a line with a dot alone does not end it. -f ADDRESS: the reverse-path, where notifications
            go. -F NAME, -N never|success,failure,delay, -R full|hdrs and -V ENVID as elsewhere; -bp lists the queue.

            Returns when the message is durable. Without a running server it is kept, and sent when one starts. Also by
            a link to this program named sendmail; FASTMAIL_DATA names the data directory then. Exits with 67 when an
            address here does not exist; nothing is sent then.
            """)
        {
            _words,
        };
        command.SetAction(Sendmail);
        return command;
    }

    public Command BuildMailq()
    {
        var command = new Command("mailq", "Lists the queue as other mail servers do; fastmail queue list tells more.");
        command.SetAction(parsed => Run(() => Mailq(parsed.GetRequiredValue(_data))));
        return command;
    }

    private int Sendmail(ParseResult parsed)
    {
        string directory = parsed.GetRequiredValue(_data);
        try
        {
            SendmailArguments arguments = SendmailArguments.Parse(parsed.GetValue(_words) ?? []);
            return arguments.IsForNothing ? ExitCode.Ok
                : Run(() => arguments.ListsQueue ? Mailq(directory) : Send(directory, arguments));
        }
        catch (FormatException e)
        {
            return AccountEdit.Fail(ExitCode.Usage, e.Message);
        }
    }

    private static int Run(Func<int> verb)
    {
        try
        {
            return verb();
        }
        catch (SubmissionException e)
        {
            return AccountEdit.Fail(
                e.IsUnknownUser ? ExitCode.NoUser : e.IsTemporary ? ExitCode.TemporaryFailure : ExitCode.DataError, e.Message);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or HttpRequestException
            or SqliteException or Configuration.SettingException)
        {
            return AccountEdit.Fail(LogVerbs.CodeOf(e), e.Message);
        }
    }

    private static int Send(string directory, SendmailArguments arguments)
    {
        using var input = new MemoryStream();
        Console.OpenStandardInput().CopyTo(input);
        SubmittedMessage message = SubmittedMessage.Read(input.ToArray(), arguments.IgnoresDots);
        List<string> recipients = [.. arguments.Recipients];
        if (arguments.ReadsRecipients)
        {
            recipients.AddRange(message.Recipients());
        }

        if (recipients.Count == 0)
        {
            return AccountEdit.Fail(ExitCode.Usage, "no recipient is named" + (arguments.ReadsRecipients ? "" : "; -t reads them from the message"));
        }

        if (message.IsLooping)
        {
            return AccountEdit.Fail(ExitCode.DataError, "the message goes in circles: it has more than 100 Received fields");
        }

        using IMailAccess mail = MailAccess.Open(directory);
        SubmissionTerms terms = mail.Terms();
        string user = Environment.UserName.Length > 0 ? Environment.UserName : "root";
        string sender = arguments.Sender ?? user;
        string address = sender.Contains('@', StringComparison.Ordinal) ? sender : $"{(sender.Length > 0 ? sender : user)}@{terms.Hostname}";
        string from = arguments.FullName is { } name ? $"\"{Escape(name)}\" <{address}>" : address;
        byte[] complete = message.Complete(from, terms.Hostname, TimeProvider.System.GetUtcNow());
        mail.Submit(
            new LocalEnvelope(sender, recipients, arguments.Notify, arguments.Return, XtextOf(arguments.EnvelopeId)), complete);
        return ExitCode.Ok;
    }

    /// <summary>In the form that Postfix made known, as scripts read it.</summary>
    private static int Mailq(string directory)
    {
        using IQueueAccess queue = QueueAccess.Open(directory);
        (int requests, long octets, ulong last) = (0, 0, 0);
        foreach (QueueEntry entry in queue.List(new QueueSelector()))
        {
            if (requests == 0)
            {
                Console.Out.WriteLine("-Queue ID-    --Size-- ----Arrival Time---- -Sender/Recipient-------");
            }

            if (entry.Seq != last)
            {
                Console.Out.Write(requests == 0 ? "" : "\n");
                string mark = entry.State switch
                {
                    "held" => "!",
                    "ready" => "*",
                    _ => " ",
                };
                string time = entry.Arrived.LocalDateTime.ToString("ddd MMM dd HH:mm:ss", CultureInfo.InvariantCulture);
                string from = entry.From.Length == 0 ? "MAILER-DAEMON" : entry.From;
                Console.Out.WriteLine(QueueText.Clean($"{entry.Id}{mark}{entry.Octets,8} {time}  {from}"));
                (requests, octets, last) = (requests + 1, octets + entry.Octets, entry.Seq);
            }

            if (entry.Reply is { } reply && entry.State != "ready")
            {
                Console.Out.WriteLine(QueueText.Clean($"{"",8}({reply})"));
            }

            Console.Out.WriteLine(QueueText.Clean($"{"",43}{entry.To}"));
        }

        Console.Out.WriteLine(requests == 0
            ? "Mail queue is empty"
            : $"\n-- {(octets + 1023) / 1024} Kbytes in {requests} Request{(requests == 1 ? "" : "s")}.");
        return ExitCode.Ok;
    }

    private static string Escape(string name) =>
        QueueText.Clean(name).Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal);

    /// <summary>RFC 3461 4.</summary>
    private static string XtextOf(string text)
    {
        if (text.Length > 0 && text.Any(c => c is < ' ' or > '~'))
        {
            throw new SubmissionException("-V holds what is not printable ASCII");
        }

        return string.Concat(text.Select(c => c is ' ' or '+' or '=' ? $"+{(int)c:X2}" : c.ToString()));
    }
}

/// <summary>Hands mail to whoever has the data directory open. Owned by the verb; one thread.</summary>
internal interface IMailAccess : IDisposable
{
    SubmissionTerms Terms();

    /// <summary>Returns the transaction id when the message is durable.</summary>
    /// <exception cref="SubmissionException">It is refused.</exception>
    string Submit(LocalEnvelope envelope, byte[] message);
}

/// <summary>Opens the one or the other.</summary>
internal static class MailAccess
{
    public static IMailAccess Open(string directory) =>
        ControlClient.TryConnect(directory) is { } server
            ? new RemoteMail(server)
            : new LocalMail(OfflineStore.Open(directory));
}

/// <summary>To a running server.</summary>
internal sealed class RemoteMail : IMailAccess
{
    private readonly ControlClient _server;

    public RemoteMail(ControlClient server) => _server = server;

    public SubmissionTerms Terms() => _server.Get("v1/mail", SubmissionJson.Default.SubmissionTerms);

    public string Submit(LocalEnvelope envelope, byte[] message)
    {
        if (envelope.Recipients.FirstOrDefault(r => r.Contains('\n', StringComparison.Ordinal)) is { } broken)
        {
            throw new SubmissionException($"<{QueueText.Clean(broken)}> is not an address"); // each is a line of the body
        }

        byte[] recipients = Encoding.UTF8.GetBytes(string.Concat(envelope.Recipients.Select(static r => r + "\n")));
        var query = new StringBuilder("v1/mail?from=").Append(Uri.EscapeDataString(envelope.ReversePath));
        query.Append(CultureInfo.InvariantCulture, $"&recipients={envelope.Recipients.Count}");
        query.Append(CultureInfo.InvariantCulture, $"&notify={(int)envelope.Notify}&ret={(int)envelope.Return}");
        query.Append("&envid=").Append(Uri.EscapeDataString(envelope.EnvelopeId));
        try
        {
            return _server.Post(query.ToString(), new MemoryStream([.. recipients, .. message]), SubmissionJson.Default.Submitted).Id;
        }
        catch (ControlException e)
        {
            throw new SubmissionException(e.Message, isTemporary: e.IsTemporary) { IsUnknownUser = e.IsNotFound };
        }
    }

    public void Dispose() => _server.Dispose();
}

/// <summary>Into a data directory that this process has opened.</summary>
internal sealed class LocalMail : IMailAccess
{
    private readonly OfflineStore _offline;

    public LocalMail(OfflineStore offline) => _offline = offline;

    public SubmissionTerms Terms() => new(_offline.Submission.Hostname, _offline.Submission.MostOctets);

    public string Submit(LocalEnvelope envelope, byte[] message) => _offline.Submission
        .TakeAsync(envelope, PipeReader.Create(new MemoryStream(message)), CancellationToken.None).GetAwaiter().GetResult();

    public void Dispose() => _offline.Dispose();
}
