using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FastMail.Protocol;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Accounts.Tokens;

/// <summary>
/// Judges bearer tokens off the loop: by their signature against a key set, or by asking an introspection endpoint
/// (RFC 7662). At most 64 at a time, each with a deadline. Any thread.
/// </summary>
internal sealed class TokenValidator : IDisposable
{
    private const int MostAtOnce = 64;
    private const int LargestAnswer = 1 << 20; // octets

    private readonly TokenRules _rules;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly HttpClient _http;
    private readonly KeySource _keys;
    private int _running;

    public TokenValidator(TokenRules rules, TimeProvider clock, ILogger log)
    {
        _rules = rules;
        _clock = clock;
        _log = log;
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false, PooledConnectionLifetime = TimeSpan.FromMinutes(5) };
        _http = new HttpClient(handler)
        {
            Timeout = rules.Timeout,
            MaxResponseContentBufferSize = LargestAnswer,
        };
        _keys = new KeySource(rules, _http, clock, log);
    }

    /// <summary>Starts a check; the span dies with the call. False when too many are under way.</summary>
    /// <param name="token">The token.</param>
    /// <param name="ended">
    /// Called once, on another thread: the verdict and, when it is Accepted, the address that the token names.
    /// </param>
    public bool TryBegin(ReadOnlySpan<byte> token, Action<AuthVerdict, string?> ended)
    {
        if (Interlocked.Increment(ref _running) > MostAtOnce)
        {
            Interlocked.Decrement(ref _running);
            return false;
        }

        byte[] copy = token.ToArray(); // copied: the caller's view dies with its call
        _ = Task.Run(async () =>
        {
            (AuthVerdict verdict, string? address) = (AuthVerdict.Unavailable, null);
            try
            {
                (verdict, address) = await JudgeAsync(copy);
            }
            catch (Exception e) // a mistake of ours: it may cost this login, but neither a place nor the answer
            {
                _log.LogError(e, "a token cannot be judged");
            }
            finally
            {
                CryptographicOperations.ZeroMemory(copy);
                Interlocked.Decrement(ref _running);
            }

            ended(verdict, address);
        });
        return true;
    }

    /// <summary>The verdict on a token, and the address that it names.</summary>
    public async Task<(AuthVerdict Verdict, string? Address)> JudgeAsync(ReadOnlyMemory<byte> token)
    {
        using var deadline = new CancellationTokenSource(_rules.Timeout);
        try
        {
            return _rules.Introspection is { } endpoint
                ? await AskAsync(endpoint, token, deadline.Token)
                : await VerifyAsync(token, deadline.Token);
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException or JsonException or IOException
            or UnauthorizedAccessException)
        {
            _log.LogError("a token cannot be judged: {Reason}", e.Message);
            return (AuthVerdict.Unavailable, null);
        }
    }

    public void Dispose()
    {
        _http.Dispose();
        _keys.Dispose();
    }

    private async Task<(AuthVerdict Verdict, string? Address)> VerifyAsync(ReadOnlyMemory<byte> token, CancellationToken cancel)
    {
        if (SignedToken.Parse(token.Span) is not { } signed)
        {
            return (AuthVerdict.Rejected, null);
        }

        if (await _keys.GetAsync(signed.KeyId, cancel) is not { } keys)
        {
            return (AuthVerdict.Unavailable, null);
        }

        string? address = signed.IsSignedBy(keys) ? signed.Claim(_rules, _clock.GetUtcNow()) : null;
        return (address is null ? AuthVerdict.Rejected : AuthVerdict.Accepted, address);
    }

    private async Task<(AuthVerdict Verdict, string? Address)> AskAsync(
        Uri endpoint, ReadOnlyMemory<byte> token, CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, endpoint)
        {
            Content = new FormUrlEncodedContent(
            [
                new("token", Encoding.ASCII.GetString(token.Span)),
                new("token_type_hint", "access_token"),
            ]),
        };
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        if (_rules.IntrospectionClient is { } client)
        {
            string secret = (await File.ReadAllTextAsync(client.SecretFile, cancel)).TrimEnd('\r', '\n');
            string pair = $"{Uri.EscapeDataString(client.Name)}:{Uri.EscapeDataString(secret)}"; // RFC 6749 2.3.1
            request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.ASCII.GetBytes(pair)));
        }

        using HttpResponseMessage response = await _http.SendAsync(request, cancel);
        response.EnsureSuccessStatusCode();
        JsonElement answer = JsonElement.Parse(await response.Content.ReadAsByteArrayAsync(cancel));
        bool isActive = answer.ValueKind == JsonValueKind.Object
            && answer.TryGetProperty("active", out JsonElement active)
            && active.ValueKind == JsonValueKind.True;
        string? address = isActive
            ? SignedToken.ClaimOf(answer, _rules, _clock.GetUtcNow(), mustName: false)
            : null;
        return (address is null ? AuthVerdict.Rejected : AuthVerdict.Accepted, address);
    }
}
