using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using FastMail.Net;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Relay.Sts;

/// <summary>
/// The policies of domains, as they were last fetched, kept in a file over restarts: who can keep us from fetching one
/// must not be able to make us forget it (RFC 8461 10.2). Owned by the server; loop thread only, but for what says
/// otherwise.
/// </summary>
internal sealed class StsPolicies : IDisposable
{
    public const string FileName = "mta-sts.jsonl";

    private const int MostPolicies = 20_000;

    private static readonly TimeSpan FailureMemory = TimeSpan.FromMinutes(5); // RFC 8461 3.3: no more attempts than that

    private readonly Dictionary<string, KeptPolicy> _kept = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (string Id, TimeSpan Until)> _failed = new(StringComparer.Ordinal);
    private readonly HashSet<string> _refreshing = new(StringComparer.Ordinal); // domains
    private readonly StsFetcher _fetcher;
    private readonly EventLoop _loop;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly string? _file;
    private readonly Lock _writing = new();

    private StsPolicies(StsFetcher fetcher, EventLoop loop, TimeProvider clock, ILogger log, string? file)
    {
        _fetcher = fetcher;
        _loop = loop;
        _clock = clock;
        _log = log;
        _file = file;
    }

    /// <summary>Policies held.</summary>
    public int Count => _kept.Count;

    /// <summary>Reads what was kept.</summary>
    /// <param name="fetcher">Fetches; belongs to this object from now on.</param>
    /// <param name="loop">Whose thread this is.</param>
    /// <param name="clock">Tells how old a policy is.</param>
    /// <param name="log">Told of policies that cannot be fetched or kept.</param>
    /// <param name="file">Keeps them; null for memory alone.</param>
    public static StsPolicies Open(StsFetcher fetcher, EventLoop loop, TimeProvider clock, ILogger log, string? file)
    {
        var policies = new StsPolicies(fetcher, loop, clock, log, file);
        try
        {
            policies.Load();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogError("policies of domains about TLS cannot be read, they are fetched again: {Reason}", e.Message);
        }

        return policies;
    }

    /// <summary>The policy in force for a domain; null when there is none.</summary>
    public StsPolicy? Find(string domain) =>
        _kept.TryGetValue(domain, out KeptPolicy? kept) && kept.FetchedAt + kept.Policy.MaxAge > _clock.GetUtcNow()
            ? kept.Policy
            : null;

    /// <summary>
    /// The domain names an id that we have not fetched, or long ago (RFC 8461 3.3 wants policies to be refreshed), and
    /// have not failed to fetch a short while ago.
    /// </summary>
    public bool MustFetch(string domain, string id)
    {
        bool isKept = _kept.TryGetValue(domain, out KeptPolicy? kept)
            && kept.Id == id && kept.FetchedAt + (kept.Policy.MaxAge / 2) > _clock.GetUtcNow();
        bool hasFailed = _failed.TryGetValue(domain, out (string Id, TimeSpan Until) failed)
            && failed.Id == id && failed.Until > _loop.Elapsed;
        return !isKept && !hasFailed && !(_refreshing.Contains(domain) && Holds(domain, id));
    }

    /// <summary>The policy in force is the one of this id.</summary>
    public bool Holds(string domain, string id) => Find(domain) is not null && _kept[domain].Id == id;

    /// <summary>Fetches anew what is in force, which holds meanwhile; another time when too many are being fetched.</summary>
    public void Refresh(string domain, string id, IReadOnlyList<IPAddress> addresses)
    {
        if (TryFetch(domain, id, addresses, _ => _refreshing.Remove(domain)))
        {
            _refreshing.Add(domain);
        }
    }

    /// <summary>
    /// Fetches a policy and keeps it. False when too many are being fetched: that says nothing about this one, and
    /// nobody is called.
    /// </summary>
    /// <param name="domain">Whose.</param>
    /// <param name="id">The id that its TXT record names.</param>
    /// <param name="addresses">Of its policy host.</param>
    /// <param name="ended">
    /// Called once, on the loop, never inside this call, with why there is none, or an empty text; the policy is in force
    /// then.
    /// </param>
    public bool TryFetch(string domain, string id, IReadOnlyList<IPAddress> addresses, Action<string> ended)
    {
        void End(StsPolicy? policy, string why)
        {
            KeptPolicy? kept = policy is null ? null : new KeptPolicy(domain, id, _clock.GetUtcNow(), policy);
            if (kept is not null)
            {
                Append(kept); // here and not on the loop, which must not wait for the disk
            }

            _loop.Post(new Ended(() =>
            {
                Take(domain, id, kept, why);
                ended(why);
            }));
        }

        if (addresses.Count > 0)
        {
            return _fetcher.TryBegin(domain, addresses, End);
        }

        End(null, $"{StsFetcher.HostOf(domain)} has no address");
        return true;
    }

    public void Dispose() => _fetcher.Dispose();

    private void Take(string domain, string id, KeptPolicy? kept, string why)
    {
        if (kept is not null)
        {
            _failed.Remove(domain);
            Keep(kept);
            return;
        }

        _log.LogWarning("the MTA-STS policy of {Domain} cannot be fetched: {Reason}", domain, why);
        if (_failed.Count >= MostPolicies)
        {
            _failed.Clear(); // costs attempts, and no policy
        }

        _failed[domain] = (id, _loop.Elapsed + FailureMemory);
    }

    private void Keep(KeptPolicy kept)
    {
        if (_kept.Count >= MostPolicies && !_kept.ContainsKey(kept.Domain))
        {
            _kept.Remove(_kept.MinBy(entry => entry.Value.FetchedAt + entry.Value.Policy.MaxAge).Key);
        }

        _kept[kept.Domain] = kept;
    }

    /// <summary>Reads the file, the last line of a domain holding, and writes it anew without what is over.</summary>
    private void Load()
    {
        if (_file is null || !File.Exists(_file))
        {
            return;
        }

        int lines = 0;
        foreach (string line in File.ReadLines(_file))
        {
            lines++;
            try
            {
                if (JsonSerializer.Deserialize(line, StsJson.Default.KeptPolicy) is { Domain: not null, Policy.Patterns: not null } kept)
                {
                    Keep(kept);
                }
            }
            catch (JsonException)
            {
                _log.LogWarning("{File}: line {Line} is not a policy and is passed over", _file, lines); // cut by a crash
            }
        }

        foreach (string domain in _kept.Keys.Where(domain => Find(domain) is null).ToArray())
        {
            _kept.Remove(domain);
        }

        if (lines > _kept.Count)
        {
            string next = _file + ".next";
            File.WriteAllLines(next, _kept.Values.Select(kept => JsonSerializer.Serialize(kept, StsJson.Default.KeptPolicy)));
            File.Move(next, _file, overwrite: true);
        }
    }

    private void Append(KeptPolicy kept)
    {
        if (_file is null)
        {
            return;
        }

        try
        {
            lock (_writing)
            {
                File.AppendAllText(_file, JsonSerializer.Serialize(kept, StsJson.Default.KeptPolicy) + "\n");
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _log.LogError("the MTA-STS policy of {Domain} cannot be kept over a restart: {Reason}", kept.Domain, e.Message);
        }
    }

    /// <summary>Back on the loop.</summary>
    private sealed class Ended : ILoopWork
    {
        private readonly Action _action;

        public Ended(Action action) => _action = action;

        public void Run() => _action();
    }
}

/// <summary>A policy with what is needed to know whether it still holds. Immutable.</summary>
/// <param name="Domain">Whose.</param>
/// <param name="Id">Of its TXT record when it was fetched.</param>
/// <param name="FetchedAt">When.</param>
/// <param name="Policy">What it says.</param>
internal sealed record KeptPolicy(string Domain, string Id, DateTimeOffset FetchedAt, StsPolicy Policy);

/// <summary>The lines of the file, serialised by generated code.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UseStringEnumConverter = true)]
[JsonSerializable(typeof(KeptPolicy))]
internal sealed partial class StsJson : JsonSerializerContext;
