using System.CommandLine;
using System.Text.Json;
using FastMail.Server.Accounts;

namespace FastMail.Server.Cli;

/// <summary><c>fastmail alias add|list|remove</c>: addresses that stand for accounts, and catch-alls of domains.</summary>
internal sealed class AliasVerbs
{
    private readonly Option<string> _data;

    private readonly Argument<string> _alias = new("ALIAS")
    {
        Description = "Address, e.g. sales@example.org; or @example.org for all addresses there that nobody has.",
    };

    private readonly Argument<string[]> _targets = new("TARGET")
    {
        Description = "Accounts or other aliases of this server.",
    };

    private readonly Option<bool> _json = new("--json") { Description = "Print a JSON array." };

    public AliasVerbs(Option<string> data) => _data = data;

    public Command Build()
    {
        _targets.Arity = ArgumentArity.OneOrMore;
        var add = new Command("add", """
            Delivers mail for ALIAS to each TARGET, beside the targets it has. Hosts the domain of ALIAS. A running
            server takes it at once.
            """)
        {
            _alias,
            _targets,
        };
        add.SetAction(parsed => Run(parsed, Add));
        var list = new Command("list", "Lists the aliases with their targets.") { _json };
        list.SetAction(parsed => Run(parsed, List));
        var some = new Argument<string[]>("TARGET")
        {
            Description = "Only these targets.",
            Arity = ArgumentArity.ZeroOrMore,
        };
        var remove = new Command("remove", "Removes an alias, or some of its targets.") { _alias, some };
        remove.SetAction(parsed => Run(parsed, (p, store) => Remove(p, store, p.GetValue(some) ?? [])));
        return new Command("alias", "Adds, lists and removes aliases and catch-alls.") { add, list, remove };
    }

    private int Run(ParseResult parsed, Func<ParseResult, AccountStore, int> verb) =>
        AccountEdit.Run(parsed.GetRequiredValue(_data), store => verb(parsed, store), mayMake: false);

    private static string? KeyOf(string text) =>
        text.StartsWith('@') ? AccountEdit.DomainOf(text) : AccountEdit.MailboxOf(text);

    private int Add(ParseResult parsed, AccountStore store)
    {
        string text = parsed.GetRequiredValue(_alias);
        if (KeyOf(text) is not { } alias)
        {
            return AccountEdit.Fail(ExitCode.Usage, $"'{text}' is neither an address nor @domain");
        }

        if (store.Find(alias) is not null)
        {
            return AccountEdit.Fail(ExitCode.CannotCreate, $"{alias} is an account; an alias needs an address of its own");
        }

        var targets = new List<string>();
        foreach (string targetText in parsed.GetRequiredValue(_targets))
        {
            if (AccountEdit.MailboxOf(targetText) is not { } target)
            {
                return AccountEdit.Fail(ExitCode.Usage, $"'{targetText}' is not an address");
            }

            if (Refuse(store, alias, target) is { } refusal)
            {
                return refusal;
            }

            targets.Add(target);
        }

        if (ReachesTooMany(store, [.. store.TargetsOf(alias) ?? [], .. targets]))
        {
            return AccountEdit.Fail(
                ExitCode.DataError,
                $"{alias} would reach more than {AliasExpansion.MostMailboxes} accounts: mail for it would be refused");
        }

        bool isAnyNew = false;
        foreach (string target in targets)
        {
            isAnyNew |= store.TryAddAlias(alias, target);
        }

        string all = string.Join(", ", store.TargetsOf(alias) ?? []);
        Console.Out.WriteLine(isAnyNew ? $"{alias} is delivered to {all}" : $"{alias} was delivered to {all} already");
        return ExitCode.Ok;
    }

    /// <summary>A target must be here, and must not lead back to the alias.</summary>
    private static int? Refuse(AccountStore store, string alias, string target)
    {
        if (store.Find(target) is null && store.TargetsOf(target) is null && target != alias)
        {
            bool isHosted = store.IsHosted(AddressKey.DomainOf(target).ToString());
            return isHosted
                ? AccountEdit.Fail(ExitCode.NoUser, $"there is no account or alias {target}; add it first")
                : AccountEdit.Fail(
                    ExitCode.DataError,
                    $"{target} is on another server; aliases deliver only to accounts and aliases of this one, which "
                    + "does not relay");
        }

        var path = new List<string> { alias };
        return LeadsTo(store, target, alias, path, [])
            ? AccountEdit.Fail(ExitCode.DataError, $"that would be a loop: {string.Join(" -> ", path)}")
            : null;
    }

    private static bool ReachesTooMany(AccountStore store, IEnumerable<string> targets)
    {
        var left = new Stack<string>(targets);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        int accounts = 0;
        while (left.TryPop(out string? target))
        {
            if (!seen.Add(target))
            {
                continue;
            }

            accounts += store.Find(target) is null ? 0 : 1;
            foreach (string next in store.TargetsOf(target) ?? [])
            {
                left.Push(next);
            }
        }

        return accounts > AliasExpansion.MostMailboxes;
    }

    private static bool LeadsTo(AccountStore store, string from, string to, List<string> path, HashSet<string> seen)
    {
        path.Add(from);
        if (from == to)
        {
            return true;
        }

        if (seen.Add(from))
        {
            foreach (string next in store.TargetsOf(from) ?? [])
            {
                if (LeadsTo(store, next, to, path, seen))
                {
                    return true;
                }
            }
        }

        path.RemoveAt(path.Count - 1);
        return false;
    }

    private int List(ParseResult parsed, AccountStore store)
    {
        List<KeyValuePair<string, string[]>> aliases = store.ReadAliases();
        if (parsed.GetValue(_json))
        {
            AliasLine[] lines = [.. aliases.Select(a => new AliasLine(a.Key, a.Value))];
            Console.Out.WriteLine(JsonSerializer.Serialize(lines, VerbJson.Default.AliasLineArray));
            return ExitCode.Ok;
        }

        foreach ((string alias, string[] targets) in aliases)
        {
            Console.Out.WriteLine($"{alias}: {string.Join(", ", targets)}");
        }

        return ExitCode.Ok;
    }

    private int Remove(ParseResult parsed, AccountStore store, string[] targets)
    {
        string text = parsed.GetRequiredValue(_alias);
        string alias = KeyOf(text) ?? text;
        if (targets.Length == 0)
        {
            if (!store.TryRemoveAlias(alias, null))
            {
                return AccountEdit.Fail(ExitCode.NoUser, $"there is no alias {alias}");
            }

            Console.Out.WriteLine($"removed {alias}");
            return ExitCode.Ok;
        }

        foreach (string target in targets)
        {
            if (!store.TryRemoveAlias(alias, AccountEdit.MailboxOf(target) ?? target))
            {
                return AccountEdit.Fail(ExitCode.NoUser, $"{alias} is not delivered to {target}");
            }

            Console.Out.WriteLine($"{alias} is no longer delivered to {target}");
        }

        return ExitCode.Ok;
    }
}
