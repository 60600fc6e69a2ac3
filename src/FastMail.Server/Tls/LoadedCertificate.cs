using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FastMail.Net;

namespace FastMail.Server.Tls;

/// <summary>
/// A certificate from its files, ready for handshakes. Its chain is completed from the authorities of this machine when
/// that is first needed, or asked for: some hundred files are read for it. Immutable; any thread.
/// </summary>
internal sealed class LoadedCertificate
{
    private readonly Lazy<SslStreamCertificateContext> _context;
    private readonly Lazy<TlsCertificate> _service;

    private LoadedCertificate(CertificateFiles files, X509Certificate2 leaf, X509Certificate2Collection chain)
    {
        Files = files;
        Names = NamesOf(leaf);
        NotBefore = leaf.NotBefore.ToUniversalTime();
        NotAfter = leaf.NotAfter.ToUniversalTime();
        _context = new(() => Complete(files, leaf, chain));
        _service = new(() => new TlsCertificate(Context, EndPointHashOf(leaf)));
    }

    public CertificateFiles Files { get; }

    /// <summary>Host names it is for, some with <c>*</c> as their first label.</summary>
    public IReadOnlyList<string> Names { get; }

    public DateTime NotBefore { get; }

    public DateTime NotAfter { get; }

    /// <summary>For us as a client.</summary>
    public SslStreamCertificateContext Context => _context.Value;

    /// <summary>For us as a server.</summary>
    public TlsCertificate Service => _service.Value;

    /// <exception cref="CertificateException">A file cannot be read or used, or the two do not belong together.</exception>
    public static LoadedCertificate Load(CertificateFiles files)
    {
        string certificates = Read(files.Certificate, "certificate");
        string key = files.PrivateKey == files.Certificate ? certificates : Read(files.PrivateKey, "private key");
        if (key.Contains("ENCRYPTED", StringComparison.Ordinal))
        {
            throw new CertificateException(
                $"{files.PrivateKey}: the private key has a passphrase; "
                + $"remove it with: openssl pkey -in {files.PrivateKey} -out NEW");
        }

        var chain = new X509Certificate2Collection();
        try
        {
            chain.ImportFromPem(certificates);
        }
        catch (CryptographicException e)
        {
            throw new CertificateException($"{files.Certificate}: not a PEM certificate: {e.Message}", e);
        }

        if (chain.Count == 0)
        {
            throw new CertificateException($"{files.Certificate}: holds no PEM certificate (BEGIN CERTIFICATE)");
        }

        X509Certificate2 leaf;
        try
        {
            leaf = X509Certificate2.CreateFromPem(certificates, key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new CertificateException(
                $"{files.PrivateKey}: not the private key of {files.Certificate}, or of a kind that cannot be used "
                + $"(RSA and ECDSA can): {e.Message}",
                e);
        }

        chain.RemoveAt(0);
        return new LoadedCertificate(files, leaf, chain);
    }

    /// <exception cref="CertificateException">It cannot be used after all.</exception>
    private static SslStreamCertificateContext Complete(
        CertificateFiles files, X509Certificate2 leaf, X509Certificate2Collection chain)
    {
        try
        {
            return SslStreamCertificateContext.Create(leaf, chain, offline: true); // asks nobody on the net
        }
        catch (CryptographicException e)
        {
            throw new CertificateException($"{files.Certificate}: its chain cannot be completed: {e.Message}", e);
        }
    }

    private static string Read(string file, string what)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new CertificateException(
                $"{file}: this user ({Environment.UserName}) may not read the {what}; give it read access", e);
        }
        catch (IOException e)
        {
            throw new CertificateException($"{file}: cannot read the {what}: {e.Message}", e);
        }
    }

    private static List<string> NamesOf(X509Certificate2 leaf)
    {
        List<string> names = [.. leaf.Extensions.OfType<X509SubjectAlternativeNameExtension>().SelectMany(e => e.EnumerateDnsNames())];
        if (names.Count == 0 && leaf.GetNameInfo(X509NameType.SimpleName, forIssuer: false) is { Length: > 0 } common)
        {
            names.Add(common); // without alternative names the common name still is what old clients go by
        }

        return names;
    }

    /// <summary>
    /// RFC 5929 4.1: the hash of the signature's algorithm, SHA-256 in place of MD5 and SHA-1. Empty where that names no
    /// one hash (PSS, EdDSA), which leaves the binding undefined.
    /// </summary>
    private static byte[] EndPointHashOf(X509Certificate2 leaf) => leaf.SignatureAlgorithm.Value switch
    {
        "1.2.840.113549.1.1.4" or "1.2.840.113549.1.1.5" or "1.2.840.113549.1.1.11" => SHA256.HashData(leaf.RawData),
        "1.2.840.10045.4.1" or "1.2.840.10045.4.3.2" => SHA256.HashData(leaf.RawData),
        "1.2.840.113549.1.1.12" or "1.2.840.10045.4.3.3" => SHA384.HashData(leaf.RawData),
        "1.2.840.113549.1.1.13" or "1.2.840.10045.4.3.4" => SHA512.HashData(leaf.RawData),
        _ => [],
    };
}
