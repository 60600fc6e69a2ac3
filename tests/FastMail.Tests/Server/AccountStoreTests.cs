using FastMail.Server.Accounts;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace FastMail.Tests.Server;

public sealed class AccountStoreTests : IDisposable
{
    private readonly string _directory = System.IO.Directory.CreateTempSubdirectory("fastmail-accounts-").FullName;
    private static readonly DateTimeOffset Now = new(2026, 11, 2, 3, 4, 5, TimeSpan.Zero);

    private readonly PasswordHash _password = PasswordHash.Create("secret"u8, iterations: 10);

    public void Dispose() => System.IO.Directory.Delete(_directory, recursive: true);

    [Fact]
    public void Accounts_survive_reopening_oldest_first()
    {
        using (AccountStore store = AccountStore.Open(_directory))
        {
            Assert.True(store.IsPristine);
            Assert.True(store.TryAdd("b@x.test", _password, DateTimeOffset.UnixEpoch.AddMicroseconds(5)));
            Assert.True(store.TryAdd("a@x.test", _password, DateTimeOffset.UnixEpoch));
            Assert.False(store.TryAdd("a@x.test", _password, DateTimeOffset.UnixEpoch));
        }

        using AccountStore again = AccountStore.Open(_directory);
        (long generation, List<Account> accounts) = again.Read();
        Assert.Equal(2, generation);
        Assert.Equal(["b@x.test", "a@x.test"], accounts.Select(a => a.Address), StringComparer.Ordinal);
        Assert.Equal(DateTimeOffset.UnixEpoch.AddMicroseconds(5), accounts[0].Created);
        Assert.True(accounts[0].Password.Matches("secret"u8));
        Assert.False(accounts[0].Password.Matches("Secret"u8));
        Assert.False(again.IsPristine);
    }

    [Fact]
    public void What_SQLite_needs_beside_the_file_is_kept_and_belongs_to_any_older_one_as_well()
    {
        string path = Path.Combine(_directory, AccountStore.FileName);
        using (AccountStore store = AccountStore.Open(_directory))
        {
            store.TryAdd("a@x.test", _password, DateTimeOffset.UnixEpoch);
        }

        Assert.Equal(0, new FileInfo(path + "-wal").Length);
        Assert.True(File.Exists(path + "-shm"));
        byte[] older = File.ReadAllBytes(path);
        using (AccountStore store = AccountStore.Open(_directory))
        {
            store.TryAdd("b@x.test", _password, DateTimeOffset.UnixEpoch);
        }

        File.WriteAllBytes(path, older);
        using AccountStore restored = AccountStore.Open(_directory);
        Assert.Equal("a@x.test", Assert.Single(restored.Read().Accounts).Address);
    }

    [Fact]
    public void A_removed_mailbox_number_is_never_given_again()
    {
        using AccountStore store = AccountStore.Open(_directory);
        store.TryAdd("a@x.test", _password, DateTimeOffset.UnixEpoch);
        ulong first = store.Read().Accounts[0].MailboxId;
        Assert.True(store.TryRemove("a@x.test", Now, out ulong removed));
        Assert.False(store.TryRemove("a@x.test", Now, out _));
        store.TryAdd("a@x.test", _password, DateTimeOffset.UnixEpoch);

        Assert.Equal(first, removed);
        Assert.True(store.Read().Accounts[0].MailboxId > first);
        Assert.False(store.IsPristine);
    }

    [Fact]
    public void Every_mailbox_that_lost_its_account_is_told_and_no_other()
    {
        using (AccountStore store = AccountStore.Open(_directory))
        {
            Assert.Empty(store.ReadRemoved());
            foreach (char name in "abcdef")
            {
                store.TryAdd($"{name}@x.test", _password, DateTimeOffset.UnixEpoch);
            }

            Assert.Empty(store.ReadRemoved());
            Assert.True(store.TryRemove("b@x.test", Now, out _));
            Assert.True(store.TryRemove("f@x.test", Now, out _));
        }

        using (var older = new Microsoft.Data.Sqlite.SqliteConnection(
            $"Data Source={Path.Combine(_directory, AccountStore.FileName)};Pooling=False"))
        {
            older.Open(); // a program that noted nothing
            using Microsoft.Data.Sqlite.SqliteCommand remove = older.CreateCommand();
            remove.CommandText = "DELETE FROM accounts WHERE address = 'c@x.test'";
            Assert.Equal(1, remove.ExecuteNonQuery());
        }

        using AccountStore again = AccountStore.Open(_directory);
        Assert.Equal(
            [new(2, "b@x.test", Now), new(3, null, null), new RemovedMailbox(6, "f@x.test", Now)], again.ReadRemoved());
        Assert.Equal(3, again.Read().Accounts.Count);
    }

    [Fact]
    public void A_running_directory_follows_changes_made_by_another_process()
    {
        using var live = new LiveAccounts(AccountStore.Open(_directory), NullLogger.Instance);
        using var changed = new ManualResetEventSlim();
        live.Changed += changed.Set;
        using AccountStore other = AccountStore.Open(_directory);

        other.TryAdd("a@x.test", _password, DateTimeOffset.UnixEpoch);

        Assert.True(changed.Wait(TimeSpan.FromSeconds(30)), "the change was never seen");
        Assert.NotNull(live.Current.Find("A@X.test"u8));
        Assert.Equal(other.Generation, other.SeenGeneration);
    }

    [Fact]
    public void A_password_hash_reads_its_own_text_and_nothing_else()
    {
        Assert.True(PasswordHash.Parse(_password.ToString()).Matches("secret"u8));
        Assert.Throws<FormatException>(() => PasswordHash.Parse("$pbkdf2-sha1$i=1$AA==$AA=="));
        Assert.Throws<FormatException>(() => PasswordHash.Parse("secret"));
        Assert.Throws<FormatException>(() => PasswordHash.Parse("$pbkdf2-sha256$i=0$AA==$AA=="));
    }

    [Fact]
    public void The_store_is_for_its_owners_eyes_only()
    {
        using AccountStore store = AccountStore.Open(_directory);
        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite,
            File.GetUnixFileMode(Path.Combine(_directory, AccountStore.FileName)));
    }
}
