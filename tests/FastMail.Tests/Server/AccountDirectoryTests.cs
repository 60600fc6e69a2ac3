using System.Text;
using FastMail.Server.Accounts;
using Xunit;

namespace FastMail.Tests.Server;

public sealed class AccountDirectoryTests
{
    private static readonly PasswordHash Hash = PasswordHash.MakeDecoy(10);

    private static readonly AccountDirectory Directory = new(1,
    [
        new Account(1, "eldest@a.test", Hash, DateTimeOffset.UnixEpoch),
        new Account(2, "u@local.test", Hash, DateTimeOffset.UnixEpoch),
        new Account(3, "v@local.test", Hash, DateTimeOffset.UnixEpoch),
        new Account(4, "postmaster@own.test", Hash, DateTimeOffset.UnixEpoch),
        new Account(5, "jos\u00e9@local.test", Hash, DateTimeOffset.UnixEpoch),
    ]);

    [Theory]
    [InlineData("u@local.test", 2)]
    [InlineData("U@LOCAL.Test", 2)]
    [InlineData("postmaster", 1)]
    [InlineData("PostMaster", 1)]
    [InlineData("postmaster@local.test", 2)]
    [InlineData("postmaster@own.test", 4)]
    [InlineData("jos\u00e9@local.test", 5)]
    public void An_address_finds_its_mailbox(string address, int mailboxId)
    {
        Assert.Equal(Residence.Mailbox, Find(address, out Account? account));
        Assert.Equal((ulong)mailboxId, account!.MailboxId);
    }

    [Theory]
    [InlineData("x@local.test", "UnknownHere")]
    [InlineData("u@elsewhere.test", "Elsewhere")]
    [InlineData("u@local.test.evil.test", "Elsewhere")]
    [InlineData("u%elsewhere.test@local.test", "UnknownHere")]
    [InlineData("\"u@local.test\"@elsewhere.test", "Elsewhere")]
    [InlineData("notpostmaster", "Elsewhere")]
    public void A_stranger_is_not_a_resident(string address, string residence)
    {
        Assert.Equal(residence, Find(address, out Account? account).ToString());
        Assert.Null(account);
    }

    [Fact]
    public void An_overlong_or_broken_name_is_nobody()
    {
        Assert.Equal(Residence.Elsewhere, Directory.Find(new byte[10_000], 5, out _));
        Assert.Null(Directory.Find([0xFF, 0xFE, (byte)'@', (byte)'x']));
    }

    private static Residence Find(string address, out Account? account)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(address);
        return Directory.Find(utf8, Array.LastIndexOf(utf8, (byte)'@'), out account);
    }
}
