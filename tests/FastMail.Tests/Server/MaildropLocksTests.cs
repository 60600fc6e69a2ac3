using FastMail.Server.Pop3;
using Xunit;

namespace FastMail.Tests.Server;

public sealed class MaildropLocksTests
{
    [Fact]
    public void A_maildrop_is_locked_until_its_holder_releases_it()
    {
        var locks = new MaildropLocks();
        MaildropLocks.Token first = locks.TryAcquire(1)!;

        Assert.Null(locks.TryAcquire(1));
        Assert.NotNull(locks.TryAcquire(2));
        first.Release();
        Assert.NotNull(locks.TryAcquire(1));
    }

    [Fact]
    public void A_token_released_twice_does_not_free_the_next_holders_lock()
    {
        var locks = new MaildropLocks();
        MaildropLocks.Token first = locks.TryAcquire(1)!;
        first.Release();
        MaildropLocks.Token second = locks.TryAcquire(1)!;

        first.Release();

        Assert.Null(locks.TryAcquire(1));
        second.Release();
        Assert.NotNull(locks.TryAcquire(1));
    }
}
