using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace FastMail.Protocol.Dkim;

/// <summary>How text is brought into one form before it is signed (RFC 6376 3.4).</summary>
public enum DkimCanonicalization : byte
{
    /// <summary>Blanks may change on the way: the case of field names, folding, runs of blanks do not count.</summary>
    Relaxed,

    /// <summary>Nothing may change.</summary>
    Simple,
}

/// <summary>
/// A private RSA key of a domain with its selector. Immutable to its users, any thread: an RSA object serves one of them
/// at a time, and there come to be as many as sign at once. Owned by whoever loaded it.
/// </summary>
public sealed class DkimKey
{
    /// <summary>Least length of a key, bits (RFC 8301 3.2: 1024, and 2048 for signers).</summary>
    public const int LeastBits = 1024;

    /// <summary>Greatest length of a key, bits: every verifier knows it (RFC 8301 3.2).</summary>
    public const int MostBits = 4096;

    private readonly byte[] _privateKey;
    private readonly ConcurrentBag<RSA> _idle = [];

    private DkimKey(string domain, string selector, RSA rsa)
    {
        Domain = domain;
        Selector = selector;
        Bits = rsa.KeySize;
        PublicKey = rsa.ExportSubjectPublicKeyInfo();
        _privateKey = rsa.ExportPkcs8PrivateKey();
        _idle.Add(rsa);
    }

    /// <summary>A-labels, lower case.</summary>
    public string Domain { get; }

    public string Selector { get; }

    public int Bits { get; }

    /// <summary>SubjectPublicKeyInfo: what <c>p=</c> of the DNS record holds in base64 (RFC 6376 3.6.1).</summary>
    public ReadOnlyMemory<byte> PublicKey { get; }

    /// <summary>Where the DNS record belongs.</summary>
    public string RecordName => $"{Selector}._domainkey.{Domain}";

    /// <summary>What the TXT record says; it is longer than one string of a record may be (255 octets).</summary>
    public string RecordText => $"v=DKIM1; k=rsa; p={Convert.ToBase64String(PublicKey.Span)}";

    /// <summary>Reads a private key.</summary>
    /// <param name="domain">A-labels, lower case.</param>
    /// <param name="selector">Labels.</param>
    /// <param name="pem">PKCS #8 or PKCS #1.</param>
    /// <exception cref="CryptographicException">It is none, or its length is not one that verifiers take.</exception>
    public static DkimKey Load(string domain, string selector, string pem)
    {
        var rsa = RSA.Create();
        try
        {
            rsa.ImportFromPem(pem);
            if (rsa.KeySize is < LeastBits or > MostBits)
            {
                throw new CryptographicException($"the key has {rsa.KeySize} bits; verifiers take {LeastBits} to {MostBits}");
            }
            return new DkimKey(domain, selector, rsa);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            rsa.Dispose();
            throw e as CryptographicException ?? new CryptographicException("there is no RSA private key in PEM in it", e);
        }
    }

    /// <summary>Signs a SHA-256 hash; the destination has room for <see cref="Bits"/>.</summary>
    internal int Sign(ReadOnlySpan<byte> hash, Span<byte> destination)
    {
        if (!_idle.TryTake(out var rsa))
        {
            rsa = RSA.Create();
            rsa.ImportPkcs8PrivateKey(_privateKey, out _);
        }
        var written = rsa.SignHash(hash, destination, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        _idle.Add(rsa);
        return written;
    }
}
