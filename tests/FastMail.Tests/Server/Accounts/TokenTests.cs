using System.Buffers.Text;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FastMail.Protocol;
using FastMail.Server.Accounts.Tokens;
using FastMail.Tests.Server.Defence;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace FastMail.Tests.Server.Accounts;

public sealed class TokenTests : IDisposable
{
    private readonly HandClock _clock = new();
    private readonly RSA _rsa = RSA.Create(2048);
    private readonly ECDsa _ecdsa = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly string _file = Path.GetTempFileName();

    public void Dispose()
    {
        _rsa.Dispose();
        _ecdsa.Dispose();
        File.Delete(_file);
    }

    [Theory]
    [InlineData("RS256", "r1")]
    [InlineData("PS256", "r1")]
    [InlineData("ES256", "e1")]
    [InlineData("ES256", null)]
    public async Task A_token_signed_with_a_key_of_the_set_names_its_account(string algorithm, string? keyId)
    {
        using TokenValidator validator = OverFile();
        Assert.Equal((AuthVerdict.Accepted, "u@local.test"), await validator.JudgeAsync(Sign(algorithm, keyId, Claims())));
    }

    [Theory]
    [InlineData("iss", "\"https://other.test\"")]
    [InlineData("iss", null)]
    [InlineData("aud", "\"other\"")]
    [InlineData("aud", "[\"other\"]")]
    [InlineData("aud", "7")]
    [InlineData("aud", null)]
    [InlineData("exp", "1")]
    [InlineData("exp", "1e300")]
    [InlineData("exp", "\"soon\"")]
    [InlineData("exp", null)]
    [InlineData("nbf", "9999999999")]
    [InlineData("nbf", "\"later\"")]
    [InlineData("email", null)]
    [InlineData("email", "7")]
    public async Task A_token_for_somebody_or_some_time_else_is_refused(string claim, string? json)
    {
        using TokenValidator validator = OverFile();
        Dictionary<string, JsonElement> claims = Claims();
        claims.Remove(claim);
        if (json is not null)
        {
            claims[claim] = JsonElement.Parse(json);
        }

        Assert.Equal((AuthVerdict.Rejected, null), await validator.JudgeAsync(Sign("RS256", "r1", claims)));
    }

    [Fact]
    public async Task A_token_that_is_not_signed_by_its_key_is_refused()
    {
        using TokenValidator validator = OverFile();
        byte[] good = Sign("RS256", "r1", Claims());
        string text = Encoding.ASCII.GetString(good);
        string[] parts = text.Split('.');
        string none = Part("""{"alg":"none"}""");
        string hmac = Part("""{"alg":"HS256","kid":"r1"}""");
        byte[] publicKey = _rsa.ExportSubjectPublicKeyInfo();
        string hmacSigned = $"{hmac}.{parts[1]}";
        string forged = Base64Url.EncodeToString(HMACSHA256.HashData(publicKey, Encoding.ASCII.GetBytes(hmacSigned)));
        string[] bad =
        [
            "", ".", "..", "a.b.c", $"{parts[0]}.{parts[1]}", $"{text}.x", $"{none}.{parts[1]}.", $"{hmacSigned}.{forged}",
            $"{parts[0]}.{Part("""{"email":"v@local.test"}""")}.{parts[2]}", $"{parts[0]}.{parts[1]}.{parts[2][..^4]}AAAA",
            $"{Part("7")}.{parts[1]}.{parts[2]}",
            Encoding.ASCII.GetString(Sign("ES256", "r1", Claims())), // the name of another key
            Encoding.ASCII.GetString(Sign("RS256", "r1", Claims(), ",\"crit\":[\"x\"]")),
        ];
        foreach (string token in bad)
        {
            Assert.Equal((AuthVerdict.Rejected, null), await validator.JudgeAsync(Encoding.ASCII.GetBytes(token)));
        }

        Assert.Equal(AuthVerdict.Accepted, (await validator.JudgeAsync(good)).Verdict);
    }

    [Theory]
    [InlineData("""{"alg":"\\ud800"}""", "{}")]
    [InlineData("""{"\\ud800":1,"alg":"RS256"}""", "{}")]
    [InlineData("""{"alg":"RS256","kid":"\\udfff"}""", "{}")]
    public async Task Half_of_a_surrogate_pair_is_no_text_and_the_token_none(string header, string claims)
    {
        using TokenValidator validator = OverFile();
        Assert.Equal((AuthVerdict.Rejected, null), await validator.JudgeAsync(Encoding.ASCII.GetBytes($"{Part(header)}.{Part(claims)}.AA")));
    }

    [Theory]
    [InlineData("""{"email":"\ud800"}""")]
    [InlineData("""{"email":"u@local.test","iss":"\ud800"}""")]
    [InlineData("""{"email":"u@local.test","aud":["\udfff"]}""")]
    [InlineData("""{"\ud800":1,"email":7}""")]
    public void A_claim_that_is_no_text_is_none(string claims)
    {
        Assert.Null(SignedToken.ClaimOf(JsonElement.Parse(claims), Rules(), _clock.GetUtcNow(), mustName: false));
    }

    [Fact]
    public async Task A_mistake_of_ours_costs_a_login_neither_its_place_nor_its_answer()
    {
        var rules = new TokenRules
        {
            Introspection = new Uri("http://127.0.0.1:1/"),
            IntrospectionClient = ("us", ""), // a file without a name cannot even be asked for
        };
        using var validator = new TokenValidator(rules, _clock, NullLogger.Instance);
        for (int i = 0; i < 70; i++) // there are 64 places
        {
            var ended = new TaskCompletionSource<AuthVerdict>(TaskCreationOptions.RunContinuationsAsynchronously);
            Assert.True(validator.TryBegin("a.b.c"u8, (verdict, _) => ended.SetResult(verdict)));
            Assert.Equal(AuthVerdict.Unavailable, await ended.Task.WaitAsync(TimeSpan.FromSeconds(30)));
        }
    }

    [Fact]
    public async Task A_new_key_is_found_when_a_token_names_it_and_an_old_one_goes()
    {
        using TokenValidator validator = OverFile();
        Assert.Equal(AuthVerdict.Accepted, (await validator.JudgeAsync(Sign("RS256", "r1", Claims()))).Verdict);
        File.WriteAllText(_file, KeySet("e2"));
        _clock.Advance(TimeSpan.FromSeconds(11));
        Assert.Equal(AuthVerdict.Accepted, (await validator.JudgeAsync(Sign("ES256", "e2", Claims()))).Verdict);
        Assert.Equal(AuthVerdict.Rejected, (await validator.JudgeAsync(Sign("ES256", "e1", Claims()))).Verdict);
    }

    [Fact]
    public async Task Keys_stay_in_force_while_their_source_is_broken()
    {
        using TokenValidator validator = OverFile();
        byte[] token = Sign("RS256", "r1", Claims());
        Assert.Equal(AuthVerdict.Accepted, (await validator.JudgeAsync(token)).Verdict);
        File.WriteAllText(_file, "{}");
        _clock.Advance(TimeSpan.FromHours(2));
        token = Sign("RS256", "r1", Claims());
        Assert.Equal(AuthVerdict.Accepted, (await validator.JudgeAsync(token)).Verdict);
    }

    [Fact]
    public async Task Without_any_keys_a_token_cannot_be_judged()
    {
        using var validator = new TokenValidator(Rules() with { Keys = "/nowhere/keys.json" }, _clock, NullLogger.Instance);
        Assert.Equal((AuthVerdict.Unavailable, null), await validator.JudgeAsync(Sign("RS256", "r1", Claims())));
    }

    [Fact]
    public async Task Keys_come_over_HTTP_too()
    {
        await using WebApplication server = await ServeAsync(app => app.MapGet("/jwks", () => KeySet("e1")));
        using var validator = new TokenValidator(
            Rules() with { Keys = AddressOf(server) + "/jwks" }, _clock, NullLogger.Instance);
        Assert.Equal(AuthVerdict.Accepted, (await validator.JudgeAsync(Sign("RS256", "r1", Claims()))).Verdict);
    }

    [Fact]
    public async Task An_introspection_endpoint_judges_and_is_told_who_asks()
    {
        await File.WriteAllTextAsync(_file, "s:ecret\n");
        await using WebApplication server = await ServeAsync(app => app.MapPost("/introspect", (HttpRequest request) =>
        {
            string expected = "Basic " + Convert.ToBase64String("mail:s%3Aecret"u8);
            return request.Headers.Authorization != expected ? Results.StatusCode(401)
                : request.Form["token"] == "good" ? Results.Json(new { active = true, email = "u@local.test" })
                : request.Form["token"] == "foreign" ? Results.Json(new { active = true, email = "u@local.test", aud = "x" })
                : request.Form["token"] == "old" ? Results.Json(new { active = true, email = "u@local.test", exp = 1 })
                : Results.Json(new { active = false, email = "u@local.test" });
        }));
        TokenRules rules = Rules() with
        {
            Introspection = new Uri(AddressOf(server) + "/introspect"),
            IntrospectionClient = ("mail", _file),
        };
        using (var validator = new TokenValidator(rules, _clock, NullLogger.Instance))
        {
            Assert.Equal((AuthVerdict.Accepted, "u@local.test"), await validator.JudgeAsync("good"u8.ToArray()));
            Assert.Equal((AuthVerdict.Rejected, null), await validator.JudgeAsync("bad"u8.ToArray()));
            Assert.Equal((AuthVerdict.Rejected, null), await validator.JudgeAsync("foreign"u8.ToArray()));
            Assert.Equal((AuthVerdict.Rejected, null), await validator.JudgeAsync("old"u8.ToArray()));
        }

        using var stranger = new TokenValidator(
            rules with { IntrospectionClient = null }, _clock, NullLogger.Instance);
        Assert.Equal((AuthVerdict.Unavailable, null), await stranger.JudgeAsync("good"u8.ToArray()));
    }

    [Fact]
    public async Task An_endpoint_that_never_answers_is_unavailable_after_the_timeout()
    {
        var never = new TaskCompletionSource();
        await using WebApplication server = await ServeAsync(app => app.MapPost("/", () => never.Task));
        using var validator = new TokenValidator(
            Rules() with { Introspection = new Uri(AddressOf(server)), Timeout = TimeSpan.FromMilliseconds(200) },
            _clock,
            NullLogger.Instance);
        Assert.Equal((AuthVerdict.Unavailable, null), await validator.JudgeAsync("x"u8.ToArray()));
        never.SetResult();
    }

    private static async Task<WebApplication> ServeAsync(Action<WebApplication> map)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        WebApplication app = builder.Build();
        app.Urls.Add("http://127.0.0.1:0");
        map(app);
        await app.StartAsync();
        return app;
    }

    private static string AddressOf(WebApplication app) =>
        app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();

    private static TokenRules Rules() => new() { Issuer = "https://id.test", Audience = "mail" };

    private static string Part(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));

    private TokenValidator OverFile()
    {
        File.WriteAllText(_file, KeySet("e1"));
        return new TokenValidator(Rules() with { Keys = _file }, _clock, NullLogger.Instance);
    }

    private Dictionary<string, JsonElement> Claims() => new(StringComparer.Ordinal)
    {
        ["iss"] = JsonElement.Parse("\"https://id.test\""),
        ["aud"] = JsonElement.Parse("[\"web\",\"mail\"]"),
        ["exp"] = JsonElement.Parse($"{_clock.GetUtcNow().AddMinutes(5).ToUnixTimeSeconds()}"),
        ["email"] = JsonElement.Parse("\"u@local.test\""),
    };

    private byte[] Sign(string algorithm, string? keyId, Dictionary<string, JsonElement> claims, string more = "")
    {
        string id = keyId is null ? "" : $",\"kid\":\"{keyId}\"";
        string signed = Part($$"""{"alg":"{{algorithm}}"{{id}}{{more}}}""") + "." + Part(JsonSerializer.Serialize(claims));
        byte[] octets = Encoding.ASCII.GetBytes(signed);
        byte[] signature = algorithm switch
        {
            "RS256" => _rsa.SignData(octets, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
            "PS256" => _rsa.SignData(octets, HashAlgorithmName.SHA256, RSASignaturePadding.Pss),
            _ => _ecdsa.SignData(octets, HashAlgorithmName.SHA256),
        };
        return Encoding.ASCII.GetBytes($"{signed}.{Base64Url.EncodeToString(signature)}");
    }

    private string KeySet(string ecId)
    {
        RSAParameters rsa = _rsa.ExportParameters(false);
        ECParameters ec = _ecdsa.ExportParameters(false);
        return JsonSerializer.Serialize(new
        {
            keys = new object[]
            {
                new { kty = "oct", k = "c2VjcmV0", kid = "r1" },
                new { kty = "RSA", use = "enc", kid = "x", n = "AQ", e = "AQ" },
                new { kty = "RSA", use = "sig", kid = "r1", n = Url(rsa.Modulus), e = Url(rsa.Exponent) },
                new { kty = "EC", crv = "P-256", kid = ecId, alg = "ES256", x = Url(ec.Q.X), y = Url(ec.Q.Y) },
            },
        });

        static string Url(byte[]? octets) => Base64Url.EncodeToString(octets);
    }
}
