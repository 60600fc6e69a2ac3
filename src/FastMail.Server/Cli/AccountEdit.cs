using System.Text;
using FastMail.Protocol;
using FastMail.Server.Accounts;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Cli;

/// <summary>What the verbs that edit accounts, aliases and domains have in common. Stateless; the program's main thread.</summary>
internal static class AccountEdit
{
    private static readonly TimeSpan ServerNotice = TimeSpan.FromSeconds(2);

    /// <summary>Opens the store of a data directory, runs the verb, and waits until a running server has its change.</summary>
    /// <param name="data">The data directory.</param>
    /// <param name="verb">Returns an exit code.</param>
    /// <param name="mayMake">A store that is missing is made.</param>
    public static int Run(string data, Func<AccountStore, int> verb, bool mayMake)
    {
        string directory = Path.GetFullPath(data);
        if (!mayMake && !File.Exists(Path.Combine(directory, AccountStore.FileName)))
        {
            return Fail(ExitCode.NoInput, $"{directory} holds no accounts; --data names the data directory");
        }

        try
        {
            using AccountStore store = AccountStore.Open(directory);
            long before = store.Generation;
            int code = verb(store);
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

    /// <summary>The key of an address as a person writes it; null when it is none.</summary>
    public static string? MailboxOf(string text) =>
        Mailbox.IsValid(Encoding.UTF8.GetBytes(text)) ? AddressKey.Of(text) : null;

    /// <summary>The key of a domain, written with or without an at sign; with it in front. Null when it is none.</summary>
    public static string? DomainOf(string text)
    {
        string domain = text.TrimStart('@');
        return !domain.StartsWith('[') && MailboxOf("postmaster@" + domain) is not null ? AddressKey.Of("@" + domain) : null;
    }

    public static int Fail(int code, string message)
    {
        Console.Error.WriteLine($"fastmail: {message}");
        return code;
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
}
