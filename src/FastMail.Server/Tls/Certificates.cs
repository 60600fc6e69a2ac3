using System.Collections.Immutable;
using FastMail.Net;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Tls;

/// <summary>
/// The certificates in service. Looks at the files every two seconds and takes new ones over whole: sessions keep what
/// they began with, and files that cannot be used change nothing. <see cref="Select"/> from any thread; reloads exclude
/// each other.
/// </summary>
internal sealed class Certificates : ITlsCertificates, IDisposable
{
    private static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan ExpiryNotice = TimeSpan.FromDays(14);
    private static readonly TimeSpan ExpiryRepeat = TimeSpan.FromDays(1);

    private readonly ImmutableArray<CertificateFiles> _files;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly Lock _gate = new();
    private readonly ITimer _timer;
    private volatile CertificateSet _current;
    private string _stamp; // of the files when they were last read
    private DateTimeOffset _nextExpiryLook;

    /// <exception cref="CertificateException">A certificate cannot be used.</exception>
    public Certificates(ImmutableArray<CertificateFiles> files, TimeProvider clock, ILogger log)
    {
        _files = files;
        _clock = clock;
        _log = log;
        _stamp = Stamp();
        _current = new CertificateSet([.. files.Select(LoadedCertificate.Load)]);
        LookAtExpiry();
        _timer = clock.CreateTimer(_ => Look(), null, LookInterval, LookInterval);
    }

    public TlsCertificate Select(string serverName) => _current.Select(serverName);

    /// <summary>Reads the files again whatever they look like (SIGHUP). False when the old ones stay.</summary>
    public bool Reload()
    {
        lock (_gate)
        {
            string stamp = Stamp(); // before the read: what changes meanwhile is read once more
            try
            {
                CertificateSet loaded = new([.. _files.Select(LoadedCertificate.Load)]);
                loaded.Complete();
                _current = loaded;
                _log.LogInformation("tls: certificates loaded: {Names}", string.Join(", ", _current.Certificates.SelectMany(c => c.Names)));
                _nextExpiryLook = default;
                LookAtExpiry();
                return true;
            }
            catch (CertificateException e)
            {
                _log.LogError("tls: {Message}; the certificates in service stay", e.Message);
                return false;
            }
            finally
            {
                _stamp = stamp;
            }
        }
    }

    public void Dispose() => _timer.Dispose();

    private void Look()
    {
        lock (_gate)
        {
            if (Stamp() != _stamp)
            {
                Reload();
            }

            LookAtExpiry();
        }
    }

    private string Stamp() => string.Concat(_files.Select(f => f.Stamp()));

    private void LookAtExpiry()
    {
        DateTimeOffset now = _clock.GetUtcNow();
        if (now < _nextExpiryLook)
        {
            return;
        }

        _nextExpiryLook = now + ExpiryRepeat;
        foreach (LoadedCertificate certificate in _current.Certificates)
        {
            string file = certificate.Files.Certificate;
            if (certificate.NotAfter <= now.UtcDateTime)
            {
                _log.LogError("tls: {File} expired on {NotAfter:yyyy-MM-dd HH:mm}Z; clients will refuse it", file, certificate.NotAfter);
            }
            else if (certificate.NotAfter <= (now + ExpiryNotice).UtcDateTime)
            {
                _log.LogWarning("tls: {File} expires on {NotAfter:yyyy-MM-dd HH:mm}Z", file, certificate.NotAfter);
            }
            else if (certificate.NotBefore > now.UtcDateTime)
            {
                _log.LogWarning("tls: {File} is not valid before {NotBefore:yyyy-MM-dd HH:mm}Z", file, certificate.NotBefore);
            }
        }
    }
}
