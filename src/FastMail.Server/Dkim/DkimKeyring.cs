using System.Collections.Frozen;
using FastMail.Protocol.Dkim;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Dkim;

/// <summary>
/// The active DKIM key of each domain. Looks at the files every two seconds; a key that cannot be used is told and leaves
/// its domain without signatures, as a missing one does. <see cref="Find"/> from any thread; looks exclude each other.
/// </summary>
internal sealed class DkimKeyring : IDisposable
{
    private static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(2);

    private readonly DkimFiles _files;
    private readonly ILogger _log;
    private readonly Lock _gate = new();
    private readonly ITimer _timer;
    private FrozenDictionary<string, DkimKey> _keys = FrozenDictionary<string, DkimKey>.Empty;
    private string? _stamp;

    public DkimKeyring(DkimFiles files, TimeProvider clock, ILogger log)
    {
        _files = files;
        _log = log;
        Look();
        _timer = clock.CreateTimer(_ => Look(), null, LookInterval, LookInterval);
    }

    public bool IsEmpty => Volatile.Read(ref _keys).Count == 0;

    /// <summary>The key of a domain, or of one that it is part of: then the signature still aligns (RFC 7489 3.1.1).</summary>
    /// <param name="domain">A-labels, lower case.</param>
    public DkimKey? Find(ReadOnlySpan<char> domain)
    {
        var keys = Volatile.Read(ref _keys).GetAlternateLookup<ReadOnlySpan<char>>();
        while (!domain.IsEmpty)
        {
            if (keys.TryGetValue(domain, out DkimKey? key))
            {
                return key;
            }

            int dot = domain.IndexOf('.');
            domain = dot < 0 ? default : domain[(dot + 1)..];
        }

        return null;
    }

    public void Dispose() => _timer.Dispose();

    /// <summary>Takes over what has changed in the files.</summary>
    public void Look()
    {
        lock (_gate)
        {
            try
            {
                string stamp = _files.Stamp(); // before the read: what changes meanwhile is read once more
                if (stamp != _stamp)
                {
                    Volatile.Write(ref _keys, Read());
                    _stamp = stamp;
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                if (_stamp?.Length != 0)
                {
                    _log.LogError("dkim: {Message}; the keys in service stay", e.Message);
                    _stamp = ""; // once, and again when it has changed
                }
            }
        }
    }

    private FrozenDictionary<string, DkimKey> Read()
    {
        var keys = new Dictionary<string, DkimKey>(StringComparer.Ordinal);
        foreach (string domain in _files.Domains())
        {
            try
            {
                if (_files.ActiveOf(domain) is { } selector)
                {
                    keys.Add(domain, _files.Load(domain, selector));
                }
            }
            catch (DkimKeyException e)
            {
                _log.LogError("dkim: {Message}; mail of {Domain} is not signed", e.Message, domain);
            }
        }

        if (keys.Count > 0 || _stamp is not null)
        {
            _log.LogInformation("dkim: signing for {Domains}", keys.Count == 0 ? "nobody" : string.Join(", ", keys.Values.Select(k => k.RecordName)));
        }

        return keys.ToFrozenDictionary(StringComparer.Ordinal);
    }
}
