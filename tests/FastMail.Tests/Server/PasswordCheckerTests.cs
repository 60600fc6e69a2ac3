using System.Collections.Concurrent;
using FastMail.Server.Accounts;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace FastMail.Tests.Server;

public sealed class PasswordCheckerTests : IDisposable
{
    private readonly string _directory = System.IO.Directory.CreateTempSubdirectory("fastmail-passwords-").FullName;
    private readonly LiveAccounts _accounts;
    private readonly PasswordChecker _checker;
    private readonly AccountStore _store;

    public PasswordCheckerTests()
    {
        _store = AccountStore.Open(_directory);
        _store.TryAdd("a@x.test", PasswordHash.Create("secret"u8, iterations: 10), DateTimeOffset.UnixEpoch);
        _accounts = new LiveAccounts(AccountStore.Open(_directory), NullLogger.Instance);
        _checker = new PasswordChecker(_accounts, TimeProvider.System);
    }

    public void Dispose()
    {
        _checker.Dispose();
        _accounts.Dispose();
        _store.Dispose();
        System.IO.Directory.Delete(_directory, recursive: true);
    }

    [Theory]
    [InlineData("a@x.test", "secret", true)]
    [InlineData("A@X.TEST", "secret", true)]
    [InlineData("a@x.test", "Secret", false)]
    [InlineData("a@x.test", "", false)]
    [InlineData("b@x.test", "secret", false)]
    public void Only_the_right_password_proves_the_account(string name, string password, bool isProven)
    {
        Account? proven = Check(name, password);

        Assert.Equal(isProven, proven is not null);
    }

    [Theory]
    [InlineData("p\u00e4ss w\u00f6rd", "pa\u0308ss\u3000wo\u0308rd", true)]
    [InlineData("p\u00e4ss", "P\u00c4SS", false)]
    public void A_password_of_other_scripts_is_the_same_however_it_is_typed(string set, string typed, bool isSame)
    {
        byte[] hashed = PasswordText.Prepare(set)!;
        byte[] compared = PasswordText.Prepare(System.Text.Encoding.UTF8.GetBytes(typed)).ToArray();
        Assert.Equal(isSame, hashed.AsSpan().SequenceEqual(compared));
    }

    [Theory]
    [InlineData("")]
    [InlineData("a\tb")]
    [InlineData("a\u0085b")]
    public void A_password_with_control_characters_is_none(string password)
    {
        Assert.Null(PasswordText.Prepare(password));
    }

    [Fact]
    public void A_remembered_success_dies_with_the_password()
    {
        Assert.NotNull(Check("a@x.test", "secret"));
        Assert.NotNull(Check("a@x.test", "secret")); // from memory
        using var changed = new ManualResetEventSlim();
        _accounts.Changed += changed.Set;
        _store.TrySetPassword("a@x.test", PasswordHash.Create("other"u8, iterations: 10));
        Assert.True(changed.Wait(TimeSpan.FromSeconds(30)));

        Assert.Null(Check("a@x.test", "secret"));
        Assert.NotNull(Check("a@x.test", "other"));
    }

    [Fact]
    public void A_flood_of_logins_is_turned_away_when_the_queue_is_full()
    {
        int taken = 0, refused = 0;
        for (int i = 0; i < 1000; i++) // unknown names cost the full hash, so the workers cannot keep up
        {
            var check = new PasswordCheck(_ => { });
            if (_checker.TryBegin(check, "nobody@x.test"u8, "guess"u8))
            {
                taken++;
            }
            else
            {
                refused++;
                Assert.True(check.Password.IsEmpty, "a password is kept that nobody will look at");
            }
        }

        Assert.True(refused > 0, "everything was taken");
        Assert.True(taken >= 64, $"only {taken} were taken");
    }

    private Account? Check(string name, string password)
    {
        using var done = new BlockingCollection<PasswordCheck>();
        Assert.True(_checker.TryBegin(
            new PasswordCheck(done.Add), System.Text.Encoding.UTF8.GetBytes(name), System.Text.Encoding.UTF8.GetBytes(password)));
        return done.Take().Proven;
    }
}
