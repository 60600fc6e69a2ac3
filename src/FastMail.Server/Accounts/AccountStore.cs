using FastMail.Protocol.Sasl;
using FastMail.Storage;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Accounts;

/// <summary>
/// The accounts in SQLite (WAL mode), file <c>accounts.db</c> in the data directory. The command line and the running
/// server open it at the same time; each change raises a generation counter, and the server notes the generation it has
/// read, so that the command line can wait for it. One thread at a time.
/// </summary>
internal sealed partial class AccountStore : IDisposable
{
    public const string FileName = "accounts.db";

    private const int BusySeconds = 10;
    private const int JournalLength = 10_000; // who has missed more reads everything again
    private const int UniqueViolation = 19; // SQLITE_CONSTRAINT

    private readonly SqliteConnection _connection;

    private AccountStore(SqliteConnection connection) => _connection = connection;

    /// <summary>Opens the store and makes it when it is missing. Throws <see cref="SqliteException"/>.</summary>
    public static AccountStore Open(string dataDirectory)
    {
        MakeDirectory(dataDirectory);
        string path = Path.Combine(dataDirectory, FileName);
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder
        {
            DataSource = path,
            DefaultTimeout = BusySeconds,
            Pooling = false,
        }.ToString());
        try
        {
            connection.Open();
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite); // it holds password hashes
            var store = new AccountStore(connection);
            store.Execute("PRAGMA journal_mode=WAL");
            store.Execute("PRAGMA synchronous=FULL");
            KeptWal.Keep(connection);
            // AUTOINCREMENT: the number of a removed mailbox must never name another one's mail.
            store.Execute("""
                BEGIN IMMEDIATE;
                CREATE TABLE IF NOT EXISTS accounts(
                    mailbox_id INTEGER PRIMARY KEY AUTOINCREMENT,
                    address TEXT NOT NULL UNIQUE,
                    password TEXT NOT NULL,
                    created_us INTEGER NOT NULL);
                CREATE TABLE IF NOT EXISTS changes(
                    id INTEGER PRIMARY KEY CHECK (id = 1),
                    generation INTEGER NOT NULL,
                    seen INTEGER NOT NULL);
                CREATE TABLE IF NOT EXISTS aliases(
                    alias TEXT NOT NULL,
                    target TEXT NOT NULL,
                    PRIMARY KEY(alias, target)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS domains(domain TEXT PRIMARY KEY) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS journal(
                    generation INTEGER NOT NULL,
                    key TEXT NOT NULL,
                    PRIMARY KEY(generation, key)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS secrets(name TEXT PRIMARY KEY, value BLOB NOT NULL);
                INSERT OR IGNORE INTO changes VALUES (1, 0, 0);
                INSERT OR IGNORE INTO secrets VALUES ('decoy', randomblob(32));
                COMMIT;
                """);
            store.AddColumn("accounts", "scram", "TEXT"); // stores made before SCRAM was spoken
            store.MakeAllowances();
            store.MakeRemoved();
            store.AddColumn("accounts", "may_send_as", "TEXT");
            return store;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>
    /// A data directory with everything above it, for its owner's eyes only. Each new name is flushed, or a power loss
    /// could take the way to the mail with all that was acknowledged.
    /// </summary>
    public static void MakeDirectory(string path)
    {
        if (Directory.Exists(path) || Path.GetDirectoryName(path) is not { } parent)
        {
            return;
        }

        MakeDirectory(parent);
        Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        if (LinuxDisk.Instance.SyncDirectory(parent) is var errno and not 0)
        {
            throw new IOException($"{parent} could not be flushed (errno {errno})");
        }
    }

    /// <summary>True when no account was ever added.</summary>
    public bool IsPristine => Convert.ToInt64(Scalar("SELECT COUNT(*) FROM sqlite_sequence WHERE name = 'accounts'")) == 0;

    /// <summary>Changes whenever another connection has committed something.</summary>
    public long DataVersion => Convert.ToInt64(Scalar("PRAGMA data_version"));

    /// <summary>Counts the changes made to the accounts.</summary>
    public long Generation => Convert.ToInt64(Scalar("SELECT generation FROM changes"));

    /// <summary>The generation that a running server has read last.</summary>
    public long SeenGeneration
    {
        get => Convert.ToInt64(Scalar("SELECT seen FROM changes"));
        set => Execute("UPDATE changes SET seen = $seen", ("$seen", value));
    }

    /// <summary>The secret of this store from which verifiers of unknown names are made.</summary>
    public byte[] DecoySecret => (byte[])Scalar("SELECT value FROM secrets WHERE name = 'decoy'")!;

    /// <summary>Adds an account; false when the address has one already, or is an alias.</summary>
    public bool TryAdd(string address, PasswordHash password, DateTimeOffset now, ScramVerifier? scram = null)
    {
        using SqliteTransaction transaction = _connection.BeginTransaction();
        if (TargetsOf(address) is not null)
        {
            return false;
        }

        try
        {
            Execute(
                """
                INSERT INTO accounts(address, password, scram, created_us)
                VALUES ($address, $password, $scram, $created)
                """,
                ("$address", address),
                ("$password", password.ToString()),
                ("$scram", (object?)scram?.ToString() ?? DBNull.Value),
                ("$created", MicrosOf(now)));
        }
        catch (SqliteException e) when (e.SqliteErrorCode == UniqueViolation)
        {
            return false;
        }

        CommitChange(transaction, address);
        return true;
    }

    /// <summary>Gives an account a new password; false when there is no such account.</summary>
    public bool TrySetPassword(string address, PasswordHash password, ScramVerifier? scram = null) => TryChange(
        address,
        "UPDATE accounts SET password = $password, scram = $scram WHERE address = $address",
        ("$address", address),
        ("$password", password.ToString()),
        ("$scram", (object?)scram?.ToString() ?? DBNull.Value));

    /// <summary>
    /// Stores the same password anew; false when it has been changed, or its account removed, since it was read.
    /// </summary>
    public bool TryRenew(Account account, Credentials credentials) => TryChange(
        account.Address,
        "UPDATE accounts SET password = $password, scram = $scram WHERE mailbox_id = $id AND password = $old",
        ("$id", (long)account.MailboxId),
        ("$old", account.Password.ToString()),
        ("$password", credentials.Password.ToString()),
        ("$scram", credentials.Scram.ToString()));

    /// <summary>Sets what else an account may send as (see <see cref="Account.MaySendAs"/>); false when there is none.</summary>
    public bool TrySetSenders(string address, IReadOnlyCollection<string> patterns) => TryChange(
        address,
        "UPDATE accounts SET may_send_as = $patterns WHERE address = $address",
        ("$address", address),
        ("$patterns", patterns.Count == 0 ? DBNull.Value : string.Join('\n', patterns)));

    /// <summary>The account of an address, or null.</summary>
    public Account? Find(string address) => ReadAccounts("WHERE address = $address", ("$address", address)).FirstOrDefault();

    /// <summary>Every account, oldest first, with the generation they belong to.</summary>
    public (long Generation, List<Account> Accounts) Read()
    {
        using SqliteTransaction transaction = _connection.BeginTransaction(deferred: true);
        return (Generation, ReadAccounts("ORDER BY mailbox_id"));
    }

    public void Dispose() => _connection.Dispose();

    private static long MicrosOf(DateTimeOffset time) =>
        (time - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;

    private static DateTimeOffset TimeOf(long micros) => DateTimeOffset.UnixEpoch.AddMicroseconds(micros);

    private void AddColumn(string table, string column, string type)
    {
        if (Convert.ToInt64(Scalar($"SELECT COUNT(*) FROM pragma_table_info('{table}') WHERE name = '{column}'")) == 0)
        {
            Execute($"ALTER TABLE {table} ADD COLUMN {column} {type}");
        }
    }

    private List<Account> ReadAccounts(string which, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        using SqliteCommand command = Command(
            "SELECT mailbox_id, address, password, created_us, scram, may_send_as FROM accounts " + which, parameters);
        using SqliteDataReader reader = command.ExecuteReader();
        var accounts = new List<Account>();
        while (reader.Read())
        {
            accounts.Add(new Account(
                (ulong)reader.GetInt64(0),
                reader.GetString(1),
                PasswordHash.Parse(reader.GetString(2)),
                TimeOf(reader.GetInt64(3)),
                reader.IsDBNull(4) ? null : ScramVerifier.Parse(reader.GetString(4)),
                reader.IsDBNull(5) ? null : reader.GetString(5).Split('\n')));
        }

        return accounts;
    }

    private bool TryChange(string key, string sql, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        using SqliteTransaction transaction = _connection.BeginTransaction();
        if (Execute(sql, parameters) == 0)
        {
            return false;
        }

        CommitChange(transaction, key);
        return true;
    }

    /// <summary>Counts the change and notes what it touched, so that nobody has to read all the rest.</summary>
    private void CommitChange(SqliteTransaction transaction, string key)
    {
        Execute("UPDATE changes SET generation = generation + 1");
        long generation = Generation;
        Execute("INSERT INTO journal VALUES ($generation, $key)", ("$generation", generation), ("$key", key));
        Execute("DELETE FROM journal WHERE generation <= $old", ("$old", generation - JournalLength));
        transaction.Commit();
    }

    private int Execute(string sql, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        using SqliteCommand command = Command(sql, parameters);
        return command.ExecuteNonQuery();
    }

    private object? Scalar(string sql, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        using SqliteCommand command = Command(sql, parameters);
        return command.ExecuteScalar();
    }

    private SqliteCommand Command(string sql, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        SqliteCommand command = _connection.CreateCommand();
#pragma warning disable CA2100 // every statement is a literal of this file; values are parameters
        command.CommandText = sql;
#pragma warning restore CA2100
        foreach ((string name, object value) in parameters)
        {
            command.Parameters.AddWithValue(name, value);
        }

        return command;
    }
}
