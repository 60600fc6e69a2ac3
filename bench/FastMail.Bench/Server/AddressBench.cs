using System.Text;
using BenchmarkDotNet.Attributes;
using FastMail.Server.Accounts;
using Microsoft.Data.Sqlite;

namespace FastMail.Bench.Server;

/// <summary>One RCPT against a directory of aliases, and one change of such a directory as the server follows it.</summary>
[MemoryDiagnoser]
public class AddressBench : IDisposable
{
    private readonly List<Account> _found = [];
    private readonly byte[] _unknown = "nobody@example7.test"u8.ToArray();
    private readonly byte[] _elsewhere = "someone@elsewhere.test"u8.ToArray();
    private AccountDirectory _directory = null!;
    private AccountStore _store = null!;
    private BenchFolder _folder = null!;
    private byte[] _known = [];
    private byte[] _tagged = [];

    [Params(1_000, 1_000_000)]
    public int Addresses { get; set; }

    [GlobalSetup]
    public void Fill()
    {
        _folder = new BenchFolder("addresses");
        _store = AccountStore.Open(_folder.Path);
        _store.TryAdd("u@example0.test", PasswordHash.MakeDecoy(10), DateTimeOffset.UnixEpoch);
        using (var connection = new SqliteConnection($"Data Source={_folder.Path}/{AccountStore.FileName};Pooling=False"))
        {
            connection.Open();
            using SqliteCommand command = connection.CreateCommand();
            command.CommandText = """
                WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $count)
                INSERT INTO aliases SELECT 'user' || i || '@example' || (i % 1000) || '.test', 'u@example0.test' FROM n
                """;
            command.Parameters.AddWithValue("$count", Addresses);
            command.ExecuteNonQuery();
        }

        _store.TryAddAlias("changed@example1.test", "u@example0.test");
        _directory = _store.ReadDirectory(new AddressRules());
        int some = Addresses / 2;
        _known = Encoding.ASCII.GetBytes($"User{some}@Example{some % 1000}.test");
        _tagged = Encoding.ASCII.GetBytes($"user{some}+list@example{some % 1000}.test");
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _store.Dispose();
        _folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Benchmark]
    public int Known() => (int)_directory.Resolve(_known, "", _found) + _found.Count;

    [Benchmark]
    public int Tagged() => (int)_directory.Resolve(_tagged, "", _found) + _found.Count;

    [Benchmark]
    public int UnknownHere() => (int)_directory.Resolve(_unknown, "", _found);

    [Benchmark]
    public int Elsewhere() => (int)_directory.Resolve(_elsewhere, "", _found);

    /// <summary>What one change costs the thread that follows the store.</summary>
    [Benchmark]
    public long FollowOneChange() => _directory.With(_store.ReadChanges(_directory.Generation - 1)!)!.Generation;

    /// <summary>What it cost if everything were read again.</summary>
    [Benchmark]
    public long ReadEverything() => _store.ReadDirectory(new AddressRules()).Generation;
}
