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

/// <summary>A private RSA key of a domain with its selector. Immutable; any thread.</summary>
public sealed class DkimKey
{
    /// <summary>Least length of a key, bits (RFC 8301 3.2: 1024, and 2048 for signers).</summary>
    public const int LeastBits = 1024;

    /// <summary>Greatest length of a key, bits: every verifier knows it (RFC 8301 3.2).</summary>
    public const int MostBits = 4096;

    private readonly byte[] _privateKey;

    private DkimKey(string domain, string selector, RSA rsa)
    {
        Domain = domain;
        Selector = selector;
        Bits = rsa.KeySize;
        PublicKey = rsa.ExportSubjectPublicKeyInfo();
        _privateKey = rsa.ExportPkcs8PrivateKey();
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
        using var rsa = RSA.Create();
        try
        {
            rsa.ImportFromPem(pem);
        }
        catch (ArgumentException e)
        {
            throw new CryptographicException("there is no RSA private key in PEM in it", e);
        }
        return rsa.KeySize is >= LeastBits and <= MostBits
            ? new DkimKey(domain, selector, rsa)
            : throw new CryptographicException($"the key has {rsa.KeySize} bits; verifiers take {LeastBits} to {MostBits}");
    }

    /// <summary>The key in a form that signs; the caller's own, as one thread at a time may use it.</summary>
    internal RSA Open()
    {
        var rsa = RSA.Create();
        rsa.ImportPkcs8PrivateKey(_privateKey, out _);
        return rsa;
    }
}
