using System.CommandLine;
using System.Text.Json;
using FastMail.Server.Accounts;

namespace FastMail.Server.Cli;

/// <summary><c>fastmail domain add|list|remove</c>: domains hosted although no account is in them.</summary>
internal sealed class DomainVerbs
{
    private readonly Option<string> _data;
    private readonly Argument<string> _domain = new("DOMAIN") { Description = "E.g. example.org." };
    private readonly Option<bool> _json = new("--json") { Description = "Print a JSON array." };

    public DomainVerbs(Option<string> data) => _data = data;

    public Command Build()
    {
        var add = new Command("add", """
            Hosts a domain: mail to unknown addresses there is refused as unknown, mail to its postmaster goes to the
            first account of this server. Domains of accounts and aliases are hosted without this.
            """)
        {
            _domain,
        };
        add.SetAction(parsed => Run(parsed, Add));
        var list = new Command("list", "Lists all hosted domains.") { _json };
        list.SetAction(parsed => Run(parsed, List));
        var remove = new Command("remove", "Stops hosting a domain in which there is nothing.") { _domain };
        remove.SetAction(parsed => Run(parsed, Remove));
        return new Command("domain", "Adds, lists and removes hosted domains.") { add, list, remove };
    }

    private int Run(ParseResult parsed, Func<ParseResult, AccountStore, int> verb) =>
        AccountEdit.Run(parsed.GetRequiredValue(_data), store => verb(parsed, store), mayMake: false);

    private int Add(ParseResult parsed, AccountStore store)
    {
        string text = parsed.GetRequiredValue(_domain);
        if (AccountEdit.DomainOf(text) is not { } domain)
        {
            return AccountEdit.Fail(ExitCode.Usage, $"'{text}' is not a domain, e.g. example.org");
        }

        if (!store.TryAddDomain(domain))
        {
            return AccountEdit.Fail(ExitCode.CannotCreate, $"{domain[1..]} is hosted already");
        }

        Console.Out.WriteLine($"hosting {domain[1..]}");
        return ExitCode.Ok;
    }

    private int List(ParseResult parsed, AccountStore store)
    {
        string[] domains = [.. store.ReadHostedDomains().Select(domain => domain[1..])];
        if (parsed.GetValue(_json))
        {
            Console.Out.WriteLine(JsonSerializer.Serialize(domains, VerbJson.Default.StringArray));
            return ExitCode.Ok;
        }

        foreach (string domain in domains)
        {
            Console.Out.WriteLine(domain);
        }

        return ExitCode.Ok;
    }

    private int Remove(ParseResult parsed, AccountStore store)
    {
        string text = parsed.GetRequiredValue(_domain);
        string domain = AccountEdit.DomainOf(text) ?? text;
        if (!store.TryRemoveDomain(domain))
        {
            return store.IsHosted(domain)
                ? AccountEdit.Fail(ExitCode.DataError, $"{text} is hosted for its accounts and aliases; remove those")
                : AccountEdit.Fail(ExitCode.NoUser, $"{text} is not hosted");
        }

        bool isStill = store.IsHosted(domain);
        Console.Out.WriteLine(isStill ? $"{text} is still hosted for its accounts and aliases" : $"not hosting {text}");
        return ExitCode.Ok;
    }
}
