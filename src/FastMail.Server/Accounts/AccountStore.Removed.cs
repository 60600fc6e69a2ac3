using Microsoft.Data.Sqlite;

namespace FastMail.Server.Accounts;

/// <summary>A mailbox whose account was removed. Its number is never given again, and its mail stays. Immutable.</summary>
/// <param name="MailboxId">Its number in the log.</param>
/// <param name="Address">Of its account; null when a program removed it that did not note it.</param>
/// <param name="Removed">When; null as before.</param>
internal sealed record RemovedMailbox(ulong MailboxId, string? Address, DateTimeOffset? Removed);

/// <summary>Removal of accounts, and what it leaves.</summary>
internal sealed partial class AccountStore
{
    /// <summary>Removes an account; false when there is none. Its mail stays, under the number of its mailbox.</summary>
    public bool TryRemove(string address, DateTimeOffset now, out ulong mailboxId)
    {
        using SqliteTransaction transaction = _connection.BeginTransaction();
        Account? account = Find(address);
        mailboxId = account?.MailboxId ?? 0;
        if (account is null)
        {
            return false;
        }

        Execute(
            "INSERT INTO removed VALUES ($id, $address, $now)",
            ("$id", (long)mailboxId),
            ("$address", address),
            ("$now", MicrosOf(now)));
        Execute("DELETE FROM accounts WHERE mailbox_id = $id", ("$id", (long)mailboxId));
        CommitChange(transaction, address);
        return true;
    }

    /// <summary>Every mailbox that had an account, in order of their numbers.</summary>
    public List<RemovedMailbox> ReadRemoved()
    {
        using SqliteTransaction transaction = _connection.BeginTransaction(deferred: true);
        var noted = new Dictionary<ulong, RemovedMailbox>();
        using (SqliteCommand command = Command("SELECT mailbox_id, address, removed_us FROM removed"))
        using (SqliteDataReader reader = command.ExecuteReader())
        {
            while (reader.Read())
            {
                var mailbox = new RemovedMailbox((ulong)reader.GetInt64(0), reader.GetString(1), TimeOf(reader.GetInt64(2)));
                noted.Add(mailbox.MailboxId, mailbox);
            }
        }

        var removed = new List<RemovedMailbox>();
        ulong next = 1;
        using (SqliteCommand command = Command("SELECT mailbox_id FROM accounts ORDER BY mailbox_id"))
        using (SqliteDataReader reader = command.ExecuteReader())
        {
            while (reader.Read())
            {
                AddUntil((ulong)reader.GetInt64(0));
                next++;
            }
        }

        AddUntil(Convert.ToUInt64(Scalar("SELECT seq FROM sqlite_sequence WHERE name = 'accounts'") ?? 0L) + 1);
        return removed;

        void AddUntil(ulong end)
        {
            for (; next < end; next++)
            {
                removed.Add(noted.GetValueOrDefault(next) ?? new RemovedMailbox(next, null, null));
            }
        }
    }

    private void MakeRemoved() => Execute("""
        CREATE TABLE IF NOT EXISTS removed(
            mailbox_id INTEGER PRIMARY KEY,
            address TEXT NOT NULL,
            removed_us INTEGER NOT NULL)
        """);
}
