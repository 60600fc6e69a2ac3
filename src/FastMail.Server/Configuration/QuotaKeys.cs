namespace FastMail.Server.Configuration;

/// <summary>How much a maildrop may hold, unless <c>fastmail account quota</c> says otherwise for it.</summary>
internal static class QuotaKeys
{
    public static readonly Key<long> Octets = new(
        "quota.octets", "0", "octets", "Most octets in a maildrop, 0 for no limit; beyond it RCPT is answered 452.",
        Values.Size(0, 1L << 50));

    public static readonly Key<int> Messages = new(
        "quota.messages", "0", "messages", "Most messages in a maildrop, 0 for no limit.",
        Values.Count(0, int.MaxValue));

    public static IEnumerable<Key> All => [Octets, Messages];
}
