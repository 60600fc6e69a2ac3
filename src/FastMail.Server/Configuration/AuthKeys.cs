using FastMail.Protocol.Sasl;
using FastMail.Server.Accounts;
using FastMail.Server.Accounts.Tokens;

namespace FastMail.Server.Configuration;

/// <summary>How users prove who they are, and how guessing is slowed down.</summary>
internal static class AuthKeys
{
    private static readonly (string Name, SaslMechanisms Mechanism)[] Names =
    [
        ("PLAIN", SaslMechanisms.Plain),
        ("LOGIN", SaslMechanisms.Login),
        ("SCRAM-SHA-256", SaslMechanisms.ScramSha256),
        ("SCRAM-SHA-256-PLUS", SaslMechanisms.ScramSha256Plus),
        ("OAUTHBEARER", SaslMechanisms.OAuthBearer),
        ("XOAUTH2", SaslMechanisms.XOAuth2),
    ];

    public static readonly Key<SaslMechanisms> Mechanisms = new(
        "auth.mechanisms", string.Join(", ", Names.Select(n => n.Name)), "NAME, ...",
        "SASL mechanisms offered where credentials are taken; the last two need a token validator.", ReadMechanisms);

    public static readonly Key<int> HashIterations = new(
        "auth.hash_iterations", "600000", "rounds", "Cost of a password guess; other costs are renewed at the next login.",
        Values.Count(4096, 10_000_000));

    public static readonly Key<TimeSpan> CacheTime = new(
        "auth.cache_time", "10min", "time", "A right password is not hashed again for so long; 0 hashes always.",
        Values.Duration(TimeSpan.Zero, TimeSpan.FromMinutes(10)));

    public static readonly Key<int> SessionFailures = new(
        "auth.session_failures", "10", "failures", "Wrong credentials in one session; one more closes it.",
        Values.Count(1, 1000));

    public static readonly Key<TimeSpan> FailureDelay = new(
        "auth.failure_delay", "1s", "time", "The n-th failure of a client is answered after n times as long, 8 at most.",
        Values.Duration(TimeSpan.Zero, TimeSpan.FromSeconds(10)));

    public static readonly Key<TimeSpan> FailureWindow = new(
        "auth.failure_window", "10min", "time", "After so long without failures the following counts are 0 again.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(1)));

    public static readonly Key<int> ClientFailures = new(
        "auth.client_failures", "20", "failures", "One IPv4 address or IPv6 /64 waits behind so many.", Count);

    public static readonly Key<int> AccountFailures = new(
        "auth.account_failures", "100", "failures", "Clients that have failed wait behind so many for one account.", Count);

    public static readonly Key<int> PairFailures = new(
        "auth.pair_failures", "10", "failures", "One client waits behind so many for one account.", Count);

    public static readonly Key<int> TotalFailures = new(
        "auth.total_failures", "1000", "failures", "Clients that have failed wait behind so many of all clients.", Count);

    public static readonly Key<int> Tracked = new(
        "auth.tracked", "65536", "entries", "Clients, accounts and pairs whose failures are remembered.",
        Values.Count(8, 16_777_216));

    public static readonly Key<string> TokenKeys = new(
        "auth.jwks", "", "FILE, URL", "Keys of the signed tokens taken by OAUTHBEARER and XOAUTH2 (RS256, PS256, ES256).",
        text => text.Contains("://", StringComparison.Ordinal) ? Endpoint(text).ToString() : text);

    public static readonly Key<string> TokenIssuer = new(
        "auth.token_issuer", "", "text", "The iss that a token must have.", text => text);

    public static readonly Key<string> TokenAudience = new(
        "auth.token_audience", "", "text", "The aud that a token must have.", text => text);

    public static readonly Key<string> TokenClaim = new(
        "auth.token_claim", "email", "name", "The claim that holds the address of the account.", text => text);

    public static readonly Key<TimeSpan> TokenKeysRefresh = new(
        "auth.jwks_refresh", "1h", "time", "The keys are read again after so long, or when a token names an unknown one.",
        Values.Duration(TimeSpan.FromSeconds(10), TimeSpan.FromDays(1)));

    public static readonly Key<string> Introspection = new(
        "auth.introspection", "", "URL", "Endpoint that judges tokens instead of a key set (RFC 7662).",
        text => text.Length == 0 ? text : Endpoint(text).ToString());

    public static readonly Key<string> IntrospectionClient = new(
        "auth.introspection_client", "", "name", "Our name at that endpoint; it needs auth.introspection_secret_file.",
        text => text);

    public static readonly Key<string> IntrospectionSecretFile = new(
        "auth.introspection_secret_file", "", "FILE", "Holds our secret at that endpoint; read at each question.",
        text => text);

    public static readonly Key<TimeSpan> TokenTimeout = new(
        "auth.token_timeout", "5s", "time", "A key server or endpoint has so long to answer.",
        Values.Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(30)));

    public static IEnumerable<Key> All =>
    [
        Mechanisms, HashIterations, CacheTime, SessionFailures, FailureDelay, FailureWindow, ClientFailures,
        AccountFailures, PairFailures, TotalFailures, Tracked, TokenKeys, TokenKeysRefresh, TokenIssuer,
        TokenAudience, TokenClaim, TokenTimeout, Introspection, IntrospectionClient, IntrospectionSecretFile,
    ];

    private static Func<string, int> Count => Values.Count(1, 1_000_000);

    public static LoginLimits Limits(Settings settings) => new()
    {
        Window = settings.Get(FailureWindow),
        PerClient = settings.Get(ClientFailures),
        PerAccount = settings.Get(AccountFailures),
        PerPair = settings.Get(PairFailures),
        Total = settings.Get(TotalFailures),
        Delay = settings.Get(FailureDelay),
        Tracked = settings.Get(Tracked),
    };

    /// <exception cref="SettingException">Keys that belong together are not there together.</exception>
    public static TokenRules Tokens(Settings settings)
    {
        string keys = settings.Get(TokenKeys);
        string introspection = settings.Get(Introspection);
        string client = settings.Get(IntrospectionClient);
        string secret = settings.Get(IntrospectionSecretFile);
        if (keys.Length > 0 && introspection.Length > 0)
        {
            throw new SettingException("auth.jwks and auth.introspection: choose one");
        }

        if (keys.Length > 0 && (settings.Get(TokenIssuer).Length == 0 || settings.Get(TokenAudience).Length == 0))
        {
            throw new SettingException("auth.jwks needs auth.token_issuer and auth.token_audience, or any token would do");
        }

        if (client.Length == 0 != (secret.Length == 0))
        {
            throw new SettingException("auth.introspection_client and auth.introspection_secret_file belong together");
        }

        return new TokenRules
        {
            Keys = keys.Length > 0 ? keys : null,
            Issuer = settings.Get(TokenIssuer),
            Audience = settings.Get(TokenAudience),
            Claim = settings.Get(TokenClaim),
            Refresh = settings.Get(TokenKeysRefresh),
            Introspection = introspection.Length > 0 ? new Uri(introspection) : null,
            IntrospectionClient = client.Length > 0 ? (client, secret) : null,
            Timeout = settings.Get(TokenTimeout),
        };
    }

    /// <summary>Tokens and keys in the clear never leave this machine.</summary>
    private static Uri Endpoint(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out Uri? url)
        && (url.Scheme == Uri.UriSchemeHttps || (url.Scheme == Uri.UriSchemeHttp && url.IsLoopback))
            ? url
            : throw new FormatException($"'{text}' is not https://..., nor http:// to this machine.");

    private static SaslMechanisms ReadMechanisms(string text)
    {
        SaslMechanisms set = SaslMechanisms.None;
        foreach (string name in Values.List(text))
        {
            SaslMechanisms mechanism = Names.FirstOrDefault(
                n => n.Name.Equals(name, StringComparison.OrdinalIgnoreCase)).Mechanism;
            set |= mechanism != SaslMechanisms.None
                ? mechanism
                : throw new FormatException($"'{name}' is none of {string.Join(", ", Names.Select(n => n.Name))}.");
        }

        return set;
    }
}
