using Microsoft.Data.Sqlite;

namespace FastMail.Server.Accounts;

/// <summary>Quota and retention of single accounts: a table of its own, with rows only for those that have any.</summary>
internal sealed partial class AccountStore
{
    private const string AllowancesKey = "!allowances"; // in the journal, where no address begins so

    /// <summary>The allowances that were given, by mailbox.</summary>
    public Dictionary<ulong, Allowance> ReadAllowances()
    {
        using SqliteCommand command = Command("SELECT mailbox_id, messages, octets, retention_days FROM allowances");
        using SqliteDataReader reader = command.ExecuteReader();
        var allowances = new Dictionary<ulong, Allowance>();
        while (reader.Read())
        {
            allowances.Add((ulong)reader.GetInt64(0), new Allowance(At(1), At(2), (int?)At(3)));
        }

        return allowances;

        long? At(int column) => reader.IsDBNull(column) ? null : reader.GetInt64(column);
    }

    /// <summary>Gives an account its allowance; false when there is no such account.</summary>
    public bool TrySetAllowance(string address, Allowance allowance) => TryChange(
        AllowancesKey,
        """
        INSERT INTO allowances(mailbox_id, messages, octets, retention_days)
        SELECT mailbox_id, $messages, $octets, $days FROM accounts WHERE address = $address
        ON CONFLICT(mailbox_id) DO UPDATE SET
            messages = excluded.messages, octets = excluded.octets, retention_days = excluded.retention_days
        """,
        ("$address", address),
        ("$messages", (object?)allowance.Messages ?? DBNull.Value),
        ("$octets", (object?)allowance.Octets ?? DBNull.Value),
        ("$days", (object?)allowance.RetentionDays ?? DBNull.Value));

    private void MakeAllowances() => Execute("""
        CREATE TABLE IF NOT EXISTS allowances(
            mailbox_id INTEGER PRIMARY KEY,
            messages INTEGER,
            octets INTEGER,
            retention_days INTEGER)
        """);
}
