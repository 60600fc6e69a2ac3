namespace FastMail.Server.Configuration;

/// <summary>How long mail is kept, unless <c>fastmail account retention</c> says otherwise for a maildrop.</summary>
internal static class RetentionKeys
{
    public static readonly Key<int> Days = new(
        "retention.days", "0", "days", "Remove messages after so many days, 0 for never.", Values.Count(0, 36500));

    public static IEnumerable<Key> All => [Days];
}
