using System.Buffers;
using System.CommandLine;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Security.Cryptography;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Messages;
using FastMail.LoadTest.Smtp;

namespace FastMail.LoadTest.Cli;

/// <summary>What every verb that sends over SMTP is told, and the plan made from it. Used by the main thread.</summary>
internal sealed class SmtpOptions
{
    private static readonly SearchValues<char> NotInMailbox = SearchValues.Create("<>, \t\r\n");

    private readonly Option<TargetAddress?> _target = new("--target", "-t")
    {
        Description = "The server: HOST:PORT, for example 127.0.0.1:2525 or [::1]:2525.",
        HelpName = "HOST:PORT",
        Required = true,
        CustomParser = OptionParsers.Target,
    };

    private readonly Option<int> _connections = Number(
        "--connections", 20, 1, 100_000, "Connections open at the same time.", "-c");

    private readonly Option<long?> _messages = new("--messages", "-n")
    {
        Description = "Messages to send after the warm-up [default: 10000 unless --duration is given].",
        HelpName = "N",
    };

    private readonly Option<TimeSpan?> _duration = new("--duration", "-d")
    {
        Description = "Send for this long after the warm-up instead of a number of messages: 10, 10s, 500ms, 5m.",
        HelpName = "TIME",
        CustomParser = OptionParsers.Time,
    };

    private readonly Option<TimeSpan?> _warmUp = new("--warm-up")
    {
        Description = "Send for this long first; these messages are checked but neither counted for rate and latency "
            + "nor for --messages [default: 0].",
        HelpName = "TIME",
        CustomParser = OptionParsers.Time,
    };

    private readonly Option<double?> _rate = new("--rate", "-r")
    {
        Description = "Open loop: this many messages a second, whatever the server does; the latency then counts from "
            + "the time a message was to leave, and what was due before the end of --duration is sent however late "
            + "[default: each connection sends when its last message is answered].",
        HelpName = "N",
    };

    private readonly Option<OctetRange?> _size = new("--size", "-s")
    {
        Description = "Octets of content, header section included (about 280 at least): 1024, 10K, 25M; or a range "
            + "0..25M, drawn by the seed on a logarithmic scale [default: 1024].",
        HelpName = "OCTETS",
        CustomParser = OptionParsers.Size,
    };

    private readonly Option<int> _recipientsPerMessage = Number(
        "--recipients-per-message", 1, 1, 10_000, "RCPT commands of each message; more than 1 needs {n} in --to.");

    private readonly Option<int> _messagesPerConnection = Number(
        "--messages-per-connection", 0, 0, int.MaxValue,
        "Messages after which a connection says QUIT and is replaced; 0: all over one connection.");

    private readonly Option<string> _pipeline = new("--pipeline", "-p")
    {
        Description = "none: one command per round trip. envelope: MAIL, RCPT and DATA together. full: a message's "
            + "content together with the next one's envelope; with --bdat a message's own envelope and its content.",
        DefaultValueFactory = _ => "none",
    };

    private readonly Option<bool> _bdat = new("--bdat")
    {
        Description = "Send each content in one chunk behind BDAT instead of DATA (RFC 3030); the server must offer "
            + "CHUNKING.",
    };

    private readonly Option<string> _from = new("--from")
    {
        Description = "Reverse-path; {n} in it becomes 0 .. users-1 in turn, as in --to. An empty string is the null "
            + "reverse-path <>.",
        HelpName = "MAILBOX",
        DefaultValueFactory = _ => "load@load.invalid",
    };

    private readonly Option<string> _to = new("--to")
    {
        Description = "Forward-path; {n} in it becomes 0 .. users-1 in turn, as in user{n}@example.org.",
        HelpName = "MAILBOX",
        DefaultValueFactory = _ => "demo@localhost",
    };

    private readonly Option<int> _users = Number(
        "--users", 1, 1, int.MaxValue, "How many mailboxes {n} in --to and --from goes over.");

    private readonly TlsOptions _tls = new();

    private readonly Option<string?> _auth = new("--auth")
    {
        Description = "Authenticate every connection as this user with AUTH PLAIN. The password comes from the "
            + $"environment variable {PasswordSource.Variable} or by --password-stdin.",
        HelpName = "USER",
    };

    private readonly Option<bool> _passwordStdin = new("--password-stdin")
    {
        Description = "Read the password as the first line of standard input.",
    };

    private readonly Option<bool> _eightBit = new("--8bit")
    {
        Description = "Mix octets above 127 into the bodies and say BODY=8BITMIME.",
    };

    private readonly Option<ulong?> _seed = new("--seed")
    {
        Description = "The same seed makes the same messages [default: drawn and printed].",
        HelpName = "N",
    };

    private readonly Option<string?> _ledger = new("--ledger")
    {
        Description = "Append to this file what happened to each message (ID SHA256 sent|without|acked|refused ...), 'sent' "
            + "before its last octet leaves. For 'pop3 --verify-ledger'. Keep it on a disk the test does not break.",
        HelpName = "FILE",
    };

    private readonly Option<bool> _reconnect = new("--reconnect")
    {
        Description = "Open a lost connection again, every 20 to 500 ms, until the run is over; for servers that are "
            + "killed. The loss is still counted.",
    };

    private readonly Option<TimeSpan?> _giveUp = new("--give-up")
    {
        Description = "End the run when the server has said nothing on any connection for this long [default: 30].",
        HelpName = "TIME",
        CustomParser = OptionParsers.Time,
    };

    private readonly Option<string> _label = new("--label")
    {
        Description = "What 'report' calls this run [default: made from the options].",
        HelpName = "TEXT",
        DefaultValueFactory = _ => "",
    };

    private readonly Option<string?> _csv = new("--csv")
    {
        Description = "Write the messages and latencies of each second to this file.",
        HelpName = "FILE",
    };

    private readonly Option<bool> _json = new("--json") { Description = "Print the result as one JSON object." };

    private readonly Option<bool> _quiet = new("--quiet", "-q") { Description = "No progress." };

    internal SmtpOptions() => _ = _pipeline.AcceptOnlyFromAmong("none", "envelope", "full");

    /// <summary>In the order of the help; the verb's own options come first.</summary>
    internal void AddTo(Command command)
    {
        Option[] all =
        [
            _target, _connections, _messages, _duration, _warmUp, _rate, _size, _pipeline, _bdat, _messagesPerConnection,
            _from,
            _to, _users, _recipientsPerMessage, .. _tls.All, _auth, _passwordStdin, _eightBit, _seed, _ledger, _reconnect, _giveUp,
            _label, _csv, _json, _quiet,
        ];
        foreach (Option option in all)
        {
            command.Add(option);
        }
    }

    internal bool WantsJson(ParseResult line) => line.GetValue(_json);

    /// <summary>The plan, or what is wrong with the command line. Reads the password, from wherever it comes.</summary>
    internal bool TryPlan(
        ParseResult line, bool needsPassword, [NotNullWhen(true)] out SmtpPlan? plan, out string[] wrong)
    {
        plan = null;
        wrong = [.. ContradictionsIn(line)];
        if (wrong.Length > 0)
        {
            return false;
        }

        string? password = null;
        if (needsPassword || line.GetValue(_auth) is not null)
        {
            password = PasswordSource.Read(line.GetValue(_passwordStdin));
            if (password is null)
            {
                wrong = [PasswordSource.Missing];
                return false;
            }
        }

        plan = PlanOf(line, password);
        return true;
    }

    internal static Option<int> Number(
        string name, int byDefault, int least, int most, string description, params string[] aliases)
    {
        var option = new Option<int>(name, aliases)
        {
            Description = description,
            HelpName = "N",
            DefaultValueFactory = _ => byDefault,
        };
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count == 1 && int.TryParse(result.Tokens[0].Value, out int value)
                && (value < least || value > most))
            {
                result.AddError($"{name}: {value} is not within {least} and {most}");
            }
        });
        return option;
    }

    /// <summary>What no single option can tell.</summary>
    private IEnumerable<string> ContradictionsIn(ParseResult line)
    {
        if (line.GetValue(_messages) is not null && line.GetValue(_duration) is not null)
        {
            yield return "--messages and --duration exclude each other";
        }

        if (line.GetValue(_messages) is < 1)
        {
            yield return "--messages: at least 1";
        }

        foreach (string wrong in _tls.ContradictionsIn(line))
        {
            yield return wrong;
        }

        if (line.GetValue(_rate) is { } rate && !(rate is > 0 and <= 10_000_000)) // NaN is neither
        {
            yield return "--rate: more than 0 messages a second, and at most 10,000,000";
        }

        string to = line.GetValue(_to)!;
        int recipients = line.GetValue(_recipientsPerMessage);
        if (recipients > 1 && (!to.Contains("{n}", StringComparison.Ordinal) || line.GetValue(_users) < recipients))
        {
            yield return $"--recipients-per-message {recipients} needs {{n}} in --to and --users {recipients} or more, "
                + "so that no message names a mailbox twice";
        }

        string from = line.GetValue(_from)!;
        if (line.GetValue(_users) > 1 && !to.Contains("{n}", StringComparison.Ordinal)
            && !from.Contains("{n}", StringComparison.Ordinal))
        {
            yield return "--users needs {n} in --to or --from, where the numbers go";
        }

        foreach (Option<string> mailbox in new[] { _to, _from })
        {
            string value = line.GetValue(mailbox)!;
            if (value.Length > 320 || value.AsSpan().ContainsAny(NotInMailbox) || (value.Length == 0 && mailbox == _to))
            {
                yield return $"{mailbox.Name}: '{value}' is not a bare mailbox (no angle brackets, comma or space)";
            }
        }
    }

    /// <summary>All mailboxes that --to and --users stand for.</summary>
    internal IEnumerable<string> MailboxesOf(ParseResult line)
    {
        string pattern = line.GetValue(_to)!;
        int users = pattern.Contains("{n}", StringComparison.Ordinal) ? line.GetValue(_users) : 1;
        return Enumerable.Range(0, users).Select(n =>
            pattern.Replace("{n}", n.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal));
    }

    private SmtpPlan PlanOf(ParseResult line, string? password)
    {
        TimeSpan? duration = line.GetValue(_duration);
        return new SmtpPlan
        {
            Target = line.GetValue(_target)!,
            Tls = _tls.PlanOf(line, line.GetValue(_target)!),
            Connections = line.GetValue(_connections),
            Messages = duration is null ? line.GetValue(_messages) ?? 10_000 : null,
            Duration = duration,
            WarmUp = line.GetValue(_warmUp) ?? TimeSpan.Zero,
            Label = line.GetValue(_label) is { Length: > 0 } label ? label : LabelOf(line),
            CsvPath = line.GetValue(_csv),
            Rate = line.GetValue(_rate) ?? 0,
            Size = line.GetValue(_size) ?? new OctetRange(1024, 1024),
            Recipients = new MailboxPattern(
                line.GetValue(_to)!, line.GetValue(_users), line.GetValue(_recipientsPerMessage)),
            From = line.GetValue(_from)!,
            MessagesPerConnection = line.GetValue(_messagesPerConnection),
            Pipelining = Enum.Parse<Pipelining>(line.GetValue(_pipeline)!, ignoreCase: true),
            IsChunking = line.GetValue(_bdat),
            IsEightBit = line.GetValue(_eightBit),
            AuthUser = line.GetValue(_auth),
            Password = password,
            Seed = line.GetValue(_seed) ?? BitConverter.ToUInt32(RandomNumberGenerator.GetBytes(4)),
            LedgerPath = line.GetValue(_ledger),
            Reconnect = line.GetValue(_reconnect),
            GiveUp = line.GetValue(_giveUp) ?? TimeSpan.FromSeconds(30),
            IsQuiet = line.GetValue(_quiet),
        };
    }

    private string LabelOf(ParseResult line)
    {
        OctetRange size = line.GetValue(_size) ?? new OctetRange(1024, 1024);
        string octets = size.Least == size.Most ? $"{size.Most}" : $"{size.Least}..{size.Most}";
        string rate = line.GetValue(_rate) is { } perSecond ? $", {perSecond.ToString(CultureInfo.InvariantCulture)}/s" : "";
        string pipelining = line.GetValue(_pipeline) == "none" ? "" : $", pipelined: {line.GetValue(_pipeline)}";
        string bdat = line.GetValue(_bdat) ? ", BDAT" : "";
        return $"{line.GetValue(_connections)} x {octets} octets{pipelining}{bdat}{rate}";
    }
}
