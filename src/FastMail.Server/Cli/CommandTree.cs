using System.CommandLine;

namespace FastMail.Server.Cli;

/// <summary>The command line: every verb with its options. <c>serve</c> is what runs when no verb is given.</summary>
internal static class CommandTree
{
    public static RootCommand Build()
    {
        var data = new Option<string>("--data")
        {
            Description = "Directory of the mail log and the accounts; made when it is missing. FASTMAIL_DATA names another default.",
            HelpName = "DIR",
            DefaultValueFactory = _ =>
                Environment.GetEnvironmentVariable("FASTMAIL_DATA") is { Length: > 0 } named ? named : "./fastmail-data",
            Recursive = true,
        };
        var serve = new ServeVerb(data);
        var root = new RootCommand("""
            FastMail: a mail server whose 250 means that the message survives a power cut.

            Without a verb it serves: SMTP on 127.0.0.1:2525 (mx) and :2587 (submission), POP3 on :2110, mail in
            ./fastmail-data. The first start makes the account demo@localhost and prints its password once.

            Exit codes are those of sysexits.h: 0 ok, 64 wrong usage, 65 wrong or damaged data, 66 no data there,
            67 no such account, 68 no way for mail, 73 exists already, 74 input/output error, 75 data directory in use, 78 wrong
            configuration, 130 interrupted.
            """)
        {
            data,
        };
        root.Add(serve.Build("serve"));
        root.Add(new AccountVerbs(data).Build());
        root.Add(new AliasVerbs(data).Build());
        root.Add(new DomainVerbs(data).Build());
        root.Add(new LogVerbs(data).Build());
        root.Add(new MaildropVerbs(data).Build());
        root.Add(new RouteVerbs(data).Build());
        root.Add(new QueueVerbs(data).Build());
        root.Add(new SendmailVerbs(data).BuildSendmail());
        root.Add(new SendmailVerbs(data).BuildMailq());
        root.Add(new BackupVerb(data).Build());
        root.Add(new DkimVerbs(data).Build());
        root.Add(new ConfigVerbs(data).Build());
        serve.Equip(root);
        return root;
    }

    /// <summary>The words that lead to a command, e.g. <c>fastmail account add</c>.</summary>
    public static string PathOf(Command command)
    {
        var words = new Stack<string>();
        for (Command? c = command; c is not null; c = c.Parents.OfType<Command>().FirstOrDefault())
        {
            words.Push(c is RootCommand ? "fastmail" : c.Name);
        }

        return string.Join(' ', words);
    }

    /// <summary>Makes an option whose text is parsed by <paramref name="parse"/>; its FormatException is the error.</summary>
    public static Option<T> Parsed<T>(string name, string helpName, string description, string defaultText, Func<string, T> parse) =>
        new(name)
        {
            Description = description,
            HelpName = helpName,
            DefaultValueFactory = _ => parse(defaultText),
            CustomParser = result => Try(() => parse(result.Tokens[0].Value), name, result),
        };

    private static T? Try<T>(Func<T> parse, string name, System.CommandLine.Parsing.ArgumentResult result)
    {
        try
        {
            return parse();
        }
        catch (FormatException e)
        {
            result.AddError($"{name}: {e.Message}");
            return default;
        }
    }
}
