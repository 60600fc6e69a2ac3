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
    private static readonly TimeSpan ServerNotice = TimeSpan.FromSeconds(2);

    private readonly Option<string> _data;
    private readonly Argument<string> _address = new("ADDRESS")
    {
        Description = "Mailbox, e.g. alice@example.org. Case does not matter.",
        CustomParser = result =>
        {
            if (MailboxOf(result.Tokens[0].Value) is { } mailbox)
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
        return new Command("account", "Adds, lists, changes and removes accounts.")
        {
            add,
            list,
            passwd,
            remove,
            BuildQuota(),
        };
    }

    private int Run(ParseResult parsed, Func<ParseResult, AccountStore, int> verb, bool mayMake = false)
    {
        string directory = Path.GetFullPath(parsed.GetRequiredValue(_data));
        if (!mayMake && !File.Exists(Path.Combine(directory, AccountStore.FileName)))
        {
            return Fail(ExitCode.NoInput, $"{directory} holds no accounts; --data names the data directory");
        }

        try
        {
            using AccountStore store = AccountStore.Open(directory);
            long before = store.Generation;
            int code = verb(parsed, store);
            if (store.Generation != before)
            {
                AwaitServer(directory, store);
            }

            return code;
        }
        catch (Exception e) when (e is SqliteException or IOException or UnauthorizedAccessException)
        {
            return Fail(ExitCode.IoError, $"{directory}: {e.Message}");
        }
    }

    private int Add(ParseResult parsed, AccountStore store)
    {
        string address = parsed.GetRequiredValue(_address);
        if (!TryTakePassword(parsed, out string? password, out bool isRandom))
        {
            return Fail(ExitCode.DataError, "the password is empty");
        }

        Credentials credentials = Credentials.Create(Encoding.UTF8.GetBytes(password));
        if (!store.TryAdd(address, credentials.Password, TimeProvider.System.GetUtcNow(), credentials.Scram))
        {
            return Fail(ExitCode.CannotCreate, $"there is an account {address} already");
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

    private int SetPassword(ParseResult parsed, AccountStore store)
    {
        string address = parsed.GetRequiredValue(_address);
        if (!TryTakePassword(parsed, out string? password, out bool isRandom))
        {
            return Fail(ExitCode.DataError, "the password is empty");
        }

        Credentials credentials = Credentials.Create(Encoding.UTF8.GetBytes(password));
        if (!store.TrySetPassword(address, credentials.Password, credentials.Scram))
        {
            return Fail(ExitCode.NoUser, $"there is no account {address}");
        }

        Console.Out.WriteLine(isRandom ? $"{address} has the password {password}" : $"{address} has a new password");
        return ExitCode.Ok;
    }

    private int Remove(ParseResult parsed, AccountStore store)
    {
        string address = parsed.GetRequiredValue(_address);
        if (!store.TryRemove(address))
        {
            return Fail(ExitCode.NoUser, $"there is no account {address}");
        }

        Console.Out.WriteLine($"removed {address}");
        return ExitCode.Ok;
    }

    private bool TryTakePassword(ParseResult parsed, out string password, out bool isRandom)
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

        return password.Length > 0;
    }

    /// <summary>A change counts from the moment the running server knows it; this waits for that moment.</summary>
    private static void AwaitServer(string directory, AccountStore store)
    {
        TimeProvider clock = TimeProvider.System;
        long start = clock.GetTimestamp();
        long generation = store.Generation;
        while (store.SeenGeneration < generation)
        {
            if (!ServerLock.IsHeld(directory))
            {
                return; // no server runs here
            }

            if (clock.GetElapsedTime(start) > ServerNotice)
            {
                Console.Error.WriteLine("fastmail: done, but the running server has not taken note of it yet");
                return;
            }

            Thread.Sleep(20);
        }
    }

    private static string? MailboxOf(string text)
    {
        string folded = text.ToLowerInvariant();
        return Mailbox.IsValid(Encoding.UTF8.GetBytes(folded)) ? folded : null;
    }

    private static int Fail(int code, string message)
    {
        Console.Error.WriteLine($"fastmail: {message}");
        return code;
    }
}
