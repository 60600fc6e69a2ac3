using FastMail.Protocol.Smtp;

namespace FastMail.Server.Cli;

/// <summary>
/// The arguments of <c>sendmail</c> as programs have given them for decades: single letters with their value behind or
/// next to them. Immutable.
/// </summary>
internal sealed record SendmailArguments
{
    /// <summary>-t: recipients are also those of To, Cc and Bcc.</summary>
    public bool ReadsRecipients { get; init; }

    /// <summary>-i, -oi: a line with a dot alone does not end the message.</summary>
    public bool IgnoresDots { get; init; }

    /// <summary>-f, -r: the reverse-path; null when it was not given.</summary>
    public string? Sender { get; init; }

    /// <summary>-F: the sender's full name.</summary>
    public string? FullName { get; init; }

    /// <summary>-N.</summary>
    public DsnNotify Notify { get; init; }

    /// <summary>-R.</summary>
    public DsnReturn Return { get; init; }

    /// <summary>-V; empty when it was not given.</summary>
    public string EnvelopeId { get; init; } = "";

    /// <summary>-bp: list the queue.</summary>
    public bool ListsQueue { get; init; }

    /// <summary>-bi, -q: nothing has to be done here.</summary>
    public bool IsForNothing { get; init; }

    public IReadOnlyList<string> Recipients { get; init; } = [];

    /// <exception cref="FormatException">Something here is not offered; the text is for the caller.</exception>
    public static SendmailArguments Parse(IReadOnlyList<string> words)
    {
        var arguments = new SendmailArguments();
        List<string> recipients = [];
        bool isOver = false;
        for (int i = 0; i < words.Count; i++)
        {
            string word = words[i];
            if (isOver || word.Length < 2 || word[0] != '-')
            {
                recipients.AddRange(word.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));
            }
            else if (word == "--")
            {
                isOver = true;
            }
            else if ("FfrNRVBhLXCoOp".Contains(word[1], StringComparison.Ordinal) && word is not ("-oi" or "-oee"))
            {
                string value = word.Length > 2 ? word[2..]
                    : ++i < words.Count ? words[i]
                    : throw new FormatException($"{word} needs a value");
                arguments = arguments.With(word[1], value);
            }
            else
            {
                arguments = arguments.With(word);
            }
        }

        return arguments with { Recipients = recipients };
    }

    private SendmailArguments With(char option, string value) => option switch
    {
        'f' or 'r' => this with { Sender = value.Trim('<', '>') },
        'F' => this with { FullName = value },
        'N' => this with { Notify = NotifyOf(value) },
        'R' => this with { Return = ReturnOf(value) },
        'V' => this with { EnvelopeId = value },
        'o' when value.StartsWith('i') => this with { IgnoresDots = true },
        _ => this, // settings of a sendmail that is not this one: body type, hop count, queue group, log tag
    };

    private SendmailArguments With(string flags)
    {
        switch (flags)
        {
            case "-bp":
                return this with { ListsQueue = true };
            case "-bi":
                return this with { IsForNothing = true };
            case "-bm" or "-oi" or "-oee":
                return flags == "-oi" ? this with { IgnoresDots = true } : this;
        }

        if (flags[1] == 'd')
        {
            return this; // debugging of a sendmail that is not this one
        }

        if (flags[1] == 'q')
        {
            return this with { IsForNothing = true }; // the server works at its queue by itself
        }

        SendmailArguments arguments = this;
        foreach (char flag in flags[1..])
        {
            arguments = flag switch
            {
                't' => arguments with { ReadsRecipients = true },
                'i' => arguments with { IgnoresDots = true },
                'v' or 'U' or 'G' or 'n' or 'm' or 's' or 'e' => arguments,
                _ => throw new FormatException($"{flags} is not offered; -t, -i, -f ADDRESS, -F NAME, -N, -R, -V and -bp are"),
            };
        }

        return arguments;
    }

    private static DsnNotify NotifyOf(string value)
    {
        DsnNotify notify = DsnNotify.Unsaid;
        foreach (string word in value.Split(','))
        {
            notify |= word.ToLowerInvariant() switch
            {
                "success" => DsnNotify.Success,
                "failure" => DsnNotify.Failure,
                "delay" => DsnNotify.Delay,
                "never" => DsnNotify.Never,
                _ => throw new FormatException($"-N {value}: say never, or of success, failure and delay some, with commas"),
            };
        }

        return (notify & DsnNotify.Never) != 0 ? DsnNotify.Never : notify;
    }

    private static DsnReturn ReturnOf(string value) => value.ToLowerInvariant() switch
    {
        "full" => DsnReturn.Full,
        "hdrs" => DsnReturn.Headers,
        _ => throw new FormatException($"-R {value}: say full or hdrs"),
    };
}
