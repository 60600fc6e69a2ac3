using System.Buffers.Text;
using System.Text.Json;

namespace FastMail.Server.Accounts.Tokens;

/// <summary>A JSON Web Token (RFC 7519) in compact form, taken apart and not yet believed. Immutable.</summary>
internal sealed class SignedToken
{
    private readonly byte[] _signed;
    private readonly byte[] _signature;
    private readonly JsonElement _claims;

    private SignedToken(byte[] signed, byte[] signature, JsonElement header, JsonElement claims)
    {
        _signed = signed;
        _signature = signature;
        _claims = claims;
        Algorithm = TextOf(header, "alg") ?? "";
        KeyId = TextOf(header, "kid");
        IsCritical = header.TryGetProperty("crit", out _);
    }

    public string Algorithm { get; }

    public string? KeyId { get; }

    /// <summary>It asks for something that must be understood (RFC 7515 4.1.11), and we understand nothing of the kind.</summary>
    public bool IsCritical { get; }

    /// <summary><c>header "." payload "." signature</c>, each in base64url; null when it is anything else.</summary>
    public static SignedToken? Parse(ReadOnlySpan<byte> token)
    {
        int first = token.IndexOf((byte)'.');
        int last = token.LastIndexOf((byte)'.');
        if (first <= 0 || last <= first || token[(first + 1)..last].Contains((byte)'.'))
        {
            return null;
        }

        try
        {
            JsonElement header = JsonElement.Parse(Base64Url.DecodeFromUtf8(token[..first]));
            JsonElement claims = JsonElement.Parse(Base64Url.DecodeFromUtf8(token[(first + 1)..last]));
            return header.ValueKind == JsonValueKind.Object && claims.ValueKind == JsonValueKind.Object
                ? new SignedToken(token[..last].ToArray(), Base64Url.DecodeFromUtf8(token[(last + 1)..]), header, claims)
                : null;
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidOperationException)
        {
            return null; // the last one is half a surrogate pair, which JSON can write and no string can hold
        }
    }

    public bool IsSignedBy(SigningKeys keys) => !IsCritical && keys.Verify(Algorithm, KeyId, _signed, _signature);

    /// <summary>The address in the token when issuer, audience and times are right (RFC 7519 4.1), or null.</summary>
    public string? Claim(TokenRules rules, DateTimeOffset now) => ClaimOf(_claims, rules, now, mustName: true);

    /// <summary>The same for claims that come from elsewhere.</summary>
    /// <param name="claims">A JSON object.</param>
    /// <param name="rules">What they must say.</param>
    /// <param name="now">The time.</param>
    /// <param name="mustName">Issuer, audience and end must be there; otherwise they need only be right.</param>
    public static string? ClaimOf(JsonElement claims, TokenRules rules, DateTimeOffset now, bool mustName)
    {
        try
        {
            return ClaimOfText(claims, rules, now, mustName);
        }
        catch (InvalidOperationException)
        {
            return null; // half a surrogate pair, in a name or a value
        }
    }

    private static string? ClaimOfText(JsonElement claims, TokenRules rules, DateTimeOffset now, bool mustName)
    {
        bool isIssuer = TextOf(claims, "iss") is { } issuer ? rules.Issuer.Length == 0 || issuer == rules.Issuer : !mustName;
        bool isAudience = claims.TryGetProperty("aud", out JsonElement audience)
            ? rules.Audience.Length == 0 || Names(audience, rules.Audience)
            : !mustName;
        bool isAlive = TimeOf(claims, "exp") is { } end ? now < end + rules.Leeway : !mustName;
        bool isBorn = TimeOf(claims, "nbf") is not { } begin || now >= begin - rules.Leeway;
        return isIssuer && isAudience && isAlive && isBorn ? TextOf(claims, rules.Claim) : null;
    }

    private static bool Names(JsonElement audience, string name) => audience.ValueKind switch
    {
        JsonValueKind.String => audience.ValueEquals(name),
        JsonValueKind.Array => audience.EnumerateArray().Any(
            one => one.ValueKind == JsonValueKind.String && one.ValueEquals(name)),
        _ => false,
    };

    /// <summary>NumericDate; one that is no number or out of range never is.</summary>
    private static DateTimeOffset? TimeOf(JsonElement claims, string name)
    {
        if (!claims.TryGetProperty(name, out JsonElement value))
        {
            return null;
        }

        const double latest = 253_402_300_799; // the end of the year 9999
        bool isTime = value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double seconds)
            && seconds is >= 0 and <= latest;
        return isTime
            ? DateTimeOffset.UnixEpoch.AddSeconds(value.GetDouble())
            : name == "exp" ? DateTimeOffset.UnixEpoch : DateTimeOffset.MaxValue.AddYears(-1);
    }

    private static string? TextOf(JsonElement json, string name) =>
        json.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;
}
