using System.Collections.Immutable;
using FastMail.Server.Configuration;

namespace FastMail.Server.Tls;

/// <summary>Where a certificate and its private key are; the two may be one file. Immutable.</summary>
/// <param name="Certificate">The certificate, and behind it the others of its chain.</param>
/// <param name="PrivateKey">Its key.</param>
internal sealed record CertificateFiles(string Certificate, string PrivateKey)
{
    /// <exception cref="SettingException">The two lists do not pair up.</exception>
    public static ImmutableArray<CertificateFiles> Of(Settings settings)
    {
        IReadOnlyList<string> certificates = settings.Get(TlsKeys.Certificates);
        IReadOnlyList<string> keys = settings.Get(TlsKeys.PrivateKeys);
        if (keys.Count > 0 && keys.Count != certificates.Count)
        {
            throw new SettingException(
                $"tls.cert names {certificates.Count} files and tls.key {keys.Count}: give each --tls-cert its --tls-key, "
                + "in the same order, or no --tls-key at all when the keys are in the certificate files");
        }

        return [.. certificates.Select((file, i) => new CertificateFiles(file, keys.Count > 0 ? keys[i] : file))];
    }

    /// <summary>Differs once a file was replaced, even behind a link; empty parts for a file that cannot be seen.</summary>
    public string Stamp() => StampOf(Certificate) + StampOf(PrivateKey);

    private static string StampOf(string path)
    {
        try
        {
            FileSystemInfo? target = File.ResolveLinkTarget(path, returnFinalTarget: true);
            var file = new FileInfo(target?.FullName ?? path);
            return $"{file.FullName} {file.LastWriteTimeUtc.Ticks} {file.Length}\n";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "\n"; // the load says why
        }
    }
}

/// <summary>A certificate cannot be used; the message names the file and the remedy.</summary>
internal sealed class CertificateException : Exception
{
    public CertificateException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
