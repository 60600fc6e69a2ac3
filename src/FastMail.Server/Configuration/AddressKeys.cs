using FastMail.Server.Accounts;

namespace FastMail.Server.Configuration;

/// <summary>How addresses are read and which senders are taken.</summary>
internal static class AddressKeys
{
    public static readonly Key<string> Delimiter = new(
        "address.delimiter", "+", "character, none", "user+tag is user: what stands between the two; none for no such rule.",
        text => text == "none" || (text.Length == 1 && "+-_.=#/!~".Contains(text[0], StringComparison.Ordinal))
            ? text
            : throw new FormatException($"'{text}' is none of + - _ . = # / ! ~ none."));

    public static readonly Key<bool> RequiresOwnSender = new(
        "submission.own_sender", "on", "on, off", "Users send only from addresses of their own (account may-send-as).",
        Values.Switch);

    public static IEnumerable<Key> All => [Delimiter, RequiresOwnSender];

    public static AddressRules Rules(Settings settings) => new()
    {
        Delimiter = settings.Get(Delimiter) is { Length: 1 } text ? text[0] : null,
        RequiresOwnSender = settings.Get(RequiresOwnSender),
        Hostname = settings.Get(ServeKeys.Hostname).ToLowerInvariant(),
    };
}
