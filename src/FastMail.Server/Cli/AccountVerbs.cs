using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using FastMail.Protocol;
using FastMail.Server.Accounts;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Cli;

/// <summary><c>fastmail account add|list|passwd|remove</c>: edits the accounts, of a running server too.</summary>
internal sealed partial class AccountVerbs
{
    private readonly Option<string> _data;
    private readonly Argument<string> _address = new("ADDRESS")
    {
        Description = "Mailbox, e.g. alice@example.org. Case does not matter.",
        CustomParser = result =>
        {
            if (AccountEdit.MailboxOf(result.Tokens[0].Value) is { } mailbox)
            {
                return mailbox;
            }

            result.AddError($"'{result.Tokens[0].Value}' is not a mailbox, e.g. alice@example.org.");
            return null;
        },
    };

    private readonly Option<bool> _passwordStdin = new("--password-stdin")
    {
        Description = "Read the password from the first line of standard input. Without it a terminal is asked, and "
            + "when there is no terminal a random password is made and printed.",
    };

    private readonly Option<bool> _json = new("--json") { Description = "Print a JSON array." };

    public AccountVerbs(Option<string> data) => _data = data;

    public Command Build()
    {
        var add = new Command("add", "Adds an account and hosts its domain. A running server takes it at once.")
        {
            _address,
            _passwordStdin,
        };
        add.SetAction(parsed => Run(parsed, Add, mayMake: true));
        var list = new Command("list", "Lists the accounts, oldest first.") { _json };
        list.SetAction(parsed => Run(parsed, List));
        var passwd = new Command("passwd", "Gives an account a new password.") { _address, _passwordStdin };
        passwd.SetAction(parsed => Run(parsed, SetPassword));
        var remove = new Command("remove", """
            Removes an account. Its mail can no longer be fetched: an account added later under the same address
            starts with an empty maildrop. A domain without accounts is no longer hosted.
            """)
        {
            _address,
        };
        remove.SetAction(parsed => Run(parsed, Remove));
        var mayAll = new Argument<string[]>("SENDER")
        {
            Description = "Address, @domain, or * for any; none takes all permissions back.",
            Arity = ArgumentArity.ZeroOrMore,
        };
        var senders = new Command("may-send-as", """
            Says from which addresses an account may send beside its own, its aliases and their forms with a tag. What
            is said replaces what was said before.
            """)
        {
            _address,
            mayAll,
        };
        senders.SetAction(parsed => Run(parsed, (p, store) => SetSenders(p, store, p.GetValue(mayAll) ?? [])));
        return new Command("account", "Adds, lists, changes and removes accounts.")
        {
            add, list, passwd, remove, senders, BuildQuota(),
            BuildRetention(),
        };
    }

    private int Run(ParseResult parsed, Func<ParseResult, AccountStore, int> verb, bool mayMake = false) =>
        AccountEdit.Run(parsed.GetRequiredValue(_data), store => verb(parsed, store), mayMake);

    private int Add(ParseResult parsed, AccountStore store)
    {
        string address = parsed.GetRequiredValue(_address);
        if (!TryTakePassword(parsed, out byte[] prepared, out string password, out bool isRandom))
        {
            return AccountEdit.Fail(ExitCode.DataError, "the password is empty, longer than 255 octets, or holds control characters");
        }

        Credentials credentials = Credentials.Create(prepared);
        if (!store.TryAdd(address, credentials.Password, TimeProvider.System.GetUtcNow(), credentials.Scram))
        {
            string what = store.Find(address) is null ? "an alias" : "an account";
            return AccountEdit.Fail(ExitCode.CannotCreate, $"there is {what} {address} already");
        }

        Console.Out.WriteLine(isRandom ? $"added {address} with the password {password}" : $"added {address}");
        return ExitCode.Ok;
    }

    private int List(ParseResult parsed, AccountStore store)
    {
        List<Account> accounts = store.Read().Accounts;
        if (parsed.GetValue(_json))
        {
            using var output = new Utf8JsonWriter(Console.OpenStandardOutput(), new JsonWriterOptions { Indented = true });
            output.WriteStartArray();
            foreach (Account account in accounts)
            {
                output.WriteStartObject();
                output.WriteString("address", account.Address);
                output.WriteNumber("mailboxId", account.MailboxId);
                output.WriteStartArray("maySendAs");
                foreach (string sender in account.MaySendAs ?? [])
                {
                    output.WriteStringValue(sender);
                }

                output.WriteEndArray();
                output.WriteString("created", account.Created.ToString("O", CultureInfo.InvariantCulture));
                output.WriteEndObject();
            }

            output.WriteEndArray();
            output.Flush();
            Console.Out.WriteLine();
        }
        else
        {
            foreach (Account account in accounts)
            {
                Console.Out.WriteLine(account.Address);
            }
        }

        return ExitCode.Ok;
    }

    private int SetSenders(ParseResult parsed, AccountStore store, string[] senders)
    {
        string address = parsed.GetRequiredValue(_address);
        var keys = new List<string>();
        foreach (string sender in senders)
        {
            if ((sender == "*" ? sender : AccountEdit.MailboxOf(sender) ?? AccountEdit.DomainOf(sender)) is not { } key)
            {
                return AccountEdit.Fail(ExitCode.Usage, $"'{sender}' is neither an address nor @domain nor *");
            }

            keys.Add(key);
        }

        if (!store.TrySetSenders(address, keys))
        {
            return AccountEdit.Fail(ExitCode.NoUser, $"there is no account {address}");
        }

        Console.Out.WriteLine($"{address} may send as {(keys.Count == 0 ? "itself only" : string.Join(", ", keys))}");
        return ExitCode.Ok;
    }

    private int SetPassword(ParseResult parsed, AccountStore store)
    {
        string address = parsed.GetRequiredValue(_address);
        if (!TryTakePassword(parsed, out byte[] prepared, out string password, out bool isRandom))
        {
            return AccountEdit.Fail(ExitCode.DataError, "the password is empty, longer than 255 octets, or holds control characters");
        }

        Credentials credentials = Credentials.Create(prepared);
        if (!store.TrySetPassword(address, credentials.Password, credentials.Scram))
        {
            return AccountEdit.Fail(ExitCode.NoUser, $"there is no account {address}");
        }

        Console.Out.WriteLine(isRandom ? $"{address} has the password {password}" : $"{address} has a new password");
        return ExitCode.Ok;
    }

    private int Remove(ParseResult parsed, AccountStore store)
    {
        string address = parsed.GetRequiredValue(_address);
        if (!store.TryRemove(address, TimeProvider.System.GetUtcNow(), out ulong mailboxId))
        {
            return AccountEdit.Fail(ExitCode.NoUser, $"there is no account {address}");
        }

        Console.Out.WriteLine(
            $"removed {address}; its mail stays, as mailbox {mailboxId}, until `fastmail maildrop purge {mailboxId}`");
        return ExitCode.Ok;
    }

    private bool TryTakePassword(ParseResult parsed, out byte[] prepared, out string password, out bool isRandom)
    {
        isRandom = false;
        if (parsed.GetValue(_passwordStdin))
        {
            password = Console.In.ReadLine() ?? string.Empty;
        }
        else if (Console.IsInputRedirected)
        {
            password = Passwords.MakeRandom();
            isRandom = true;
        }
        else
        {
            password = Passwords.Ask();
        }

        prepared = PasswordText.Prepare(password) ?? [];
        return prepared.Length > 0;
    }
}
