using Microsoft.Extensions.Logging;

namespace FastMail.Server.Accounts.Tokens;

/// <summary>
/// The keys in force, from a file or a URL: read at the first need, again when they are old, and at once, but not more
/// than once in ten seconds, when a token names a key that is not among them (rotation). Keys that were read stay in
/// force while their source does not answer. Any thread; one reads at a time.
/// </summary>
internal sealed class KeySource : IDisposable
{
    private const int LargestSet = 1 << 20; // octets

    private static readonly TimeSpan LeastInterval = TimeSpan.FromSeconds(10);

    private readonly TokenRules _rules;
    private readonly HttpClient _http;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly SemaphoreSlim _reading = new(1);
    private volatile SigningKeys? _keys;
    private long _readAt;
    private bool _hasTried;

    public KeySource(TokenRules rules, HttpClient http, TimeProvider clock, ILogger log)
    {
        _rules = rules;
        _http = http;
        _clock = clock;
        _log = log;
    }

    /// <summary>The keys; null when they could never be read.</summary>
    /// <param name="wanted">Name of the key that is needed; null for any.</param>
    /// <param name="cancel">Ends the wait.</param>
    public async Task<SigningKeys?> GetAsync(string? wanted, CancellationToken cancel)
    {
        await _reading.WaitAsync(cancel);
        try
        {
            TimeSpan age = _hasTried ? _clock.GetElapsedTime(_readAt) : TimeSpan.MaxValue;
            bool isNeeded = _keys is null || age >= _rules.Refresh || !_keys.Has(wanted);
            if (isNeeded && age >= LeastInterval)
            {
                _hasTried = true;
                _readAt = _clock.GetTimestamp();
                await ReadAsync(cancel);
            }

            return _keys;
        }
        finally
        {
            _reading.Release();
        }
    }

    public void Dispose() => _reading.Dispose();

    private async Task ReadAsync(CancellationToken cancel)
    {
        try
        {
            _keys = SigningKeys.Parse(await LoadAsync(cancel));
        }
        catch (Exception e) when (e is HttpRequestException or IOException or UnauthorizedAccessException or FormatException
            or TaskCanceledException)
        {
            _log.LogError("keys of tokens cannot be read from {Source}: {Reason}", _rules.Keys, e.Message);
        }
    }

    private async Task<byte[]> LoadAsync(CancellationToken cancel)
    {
        if (Uri.TryCreate(_rules.Keys, UriKind.Absolute, out Uri? url) && !url.IsFile)
        {
            return await _http.GetByteArrayAsync(url, cancel); // its size is bounded by the client
        }

        var file = new FileInfo(_rules.Keys!);
        return file.Length <= LargestSet
            ? await File.ReadAllBytesAsync(file.FullName, cancel)
            : throw new FormatException("larger than 1 MiB");
    }
}
