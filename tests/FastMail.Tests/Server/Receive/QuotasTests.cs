using FastMail.Server.Accounts;
using FastMail.Server.Receive;
using FastMail.Storage;
using FastMail.Tests.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace FastMail.Tests.Server.Receive;

public sealed class QuotasTests : IDisposable
{
    private const ulong Mailbox = 7;

    private readonly LogScene _scene = new();
    private readonly LiveAccounts _accounts;

    public QuotasTests()
    {
        _scene.Open();
        _accounts = new LiveAccounts(AccountStore.Open(_scene.Directory), NullLogger.Instance);
    }

    public void Dispose()
    {
        _accounts.Dispose();
        _scene.Dispose();
    }

    [Fact]
    public void Whoever_has_a_place_keeps_it_while_the_message_of_another_counts_twice()
    {
        Quotas quotas = Make(messages: 2, octets: 0);
        Assert.Equal(QuotaVerdict.Fits, quotas.Reserve(Mailbox, 0));
        Assert.Equal(QuotaVerdict.Fits, quotas.Reserve(Mailbox, 0));
        Assert.Equal(QuotaVerdict.Full, quotas.Reserve(Mailbox, 0));

        _scene.Deliver("x", Mailbox); // flushed, and its reservation not ended yet

        Assert.Equal(QuotaVerdict.Fits, quotas.Judge(Mailbox, 100, reservedOctets: 0));
        Assert.Equal(QuotaVerdict.Full, quotas.Reserve(Mailbox, 0));
    }

    [Fact]
    public void Octets_that_were_reserved_are_kept_and_more_than_that_is_judged_anew()
    {
        Quotas quotas = Make(messages: 0, octets: 1000);
        Assert.Equal(QuotaVerdict.Fits, quotas.Reserve(Mailbox, 500));
        Assert.Equal(QuotaVerdict.Fits, quotas.Reserve(Mailbox, 500));

        _scene.Deliver(new string('x', 400), Mailbox);

        Assert.Equal(QuotaVerdict.Fits, quotas.Judge(Mailbox, 500, reservedOctets: 500));
        Assert.Equal(QuotaVerdict.TooLittleRoom, quotas.Judge(Mailbox, 501, reservedOctets: 500));
        Assert.Equal(QuotaVerdict.NeverFits, quotas.Judge(Mailbox, 1001, reservedOctets: 500));
    }

    private Quotas Make(long messages, long octets) => new(_scene.Log!, _accounts, new Allowance(messages, octets, 0));
}
