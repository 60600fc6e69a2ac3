using FastMail.Protocol.Pop3;
using FastMail.Server.Accounts;

namespace FastMail.Server.Retention;

/// <summary>
/// How long maildrops keep their messages, as POP3 tells its clients; what <see cref="Expunger"/> goes by. Immutable;
/// any thread.
/// </summary>
/// <param name="accounts">Know the retention of single accounts.</param>
/// <param name="defaults">For all the others.</param>
internal sealed class RetentionPolicy(LiveAccounts accounts, Allowance defaults)
{
    /// <summary>To somebody whose account is not known yet: the least that may be meant (RFC 2449 6.7).</summary>
    public Expiry OfAnybody
    {
        get
        {
            int? least = accounts.Current.LeastRetentionDays;
            int? days = DaysOf(defaults.RetentionDays);
            return new Expiry(least > 0 && !(days < least) ? least : days, least is not null);
        }
    }

    /// <summary>Days that a message stays in a maildrop; null for ever.</summary>
    public int? Of(ulong mailboxId) =>
        DaysOf(accounts.Current.AllowanceOf(mailboxId)?.RetentionDays ?? defaults.RetentionDays);

    private static int? DaysOf(int? days) => days > 0 ? days : null;
}
