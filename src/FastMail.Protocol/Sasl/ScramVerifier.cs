using System.Globalization;
using System.Security.Cryptography;

namespace FastMail.Protocol.Sasl;

/// <summary>
/// What a server keeps of a password for SCRAM-SHA-256 (RFC 5802 3, RFC 7677): enough to check a proof, not enough to
/// make one. Immutable; any thread.
/// </summary>
public sealed class ScramVerifier
{
    /// <summary>Octets of each key.</summary>
    public const int KeyBytes = 32;

    /// <summary>Octets of a salt made here.</summary>
    public const int SaltBytes = 16;

    /// <summary>Octets of the longest salt taken.</summary>
    public const int MaxSaltBytes = 64;

    private const string Scheme = "SCRAM-SHA-256$";

    private readonly byte[] _salt;
    private readonly byte[] _storedKey;
    private readonly byte[] _serverKey;

    /// <exception cref="ArgumentException">A length or the count of rounds is out of range.</exception>
    public ScramVerifier(
        int iterations, ReadOnlySpan<byte> salt, ReadOnlySpan<byte> storedKey, ReadOnlySpan<byte> serverKey)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        if (salt.Length is 0 or > MaxSaltBytes || storedKey.Length != KeyBytes || serverKey.Length != KeyBytes)
        {
            throw new ArgumentException("A salt of 1 to 64 and keys of 32 octets are expected.");
        }
        Iterations = iterations;
        _salt = salt.ToArray();
        _storedKey = storedKey.ToArray();
        _serverKey = serverKey.ToArray();
    }

    /// <summary>Rounds of PBKDF2 that the client is asked for.</summary>
    public int Iterations { get; }

    public ReadOnlySpan<byte> Salt => _salt;

    /// <summary>SHA-256 of the key that a client proves to have.</summary>
    public ReadOnlySpan<byte> StoredKey => _storedKey;

    /// <summary>Signs what the server says last, so that the client knows it has the verifier.</summary>
    public ReadOnlySpan<byte> ServerKey => _serverKey;

    /// <summary>Makes a verifier; takes as long as <paramref name="iterations"/> says, so never on the loop.</summary>
    public static ScramVerifier Create(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, int iterations)
    {
        Span<byte> salted = stackalloc byte[KeyBytes];
        Rfc2898DeriveBytes.Pbkdf2(password, salt, salted, iterations, HashAlgorithmName.SHA256);
        Span<byte> storedKey = stackalloc byte[KeyBytes];
        Span<byte> serverKey = stackalloc byte[KeyBytes];
        HMACSHA256.HashData(salted, "Client Key"u8, storedKey);
        SHA256.HashData(storedKey, storedKey);
        HMACSHA256.HashData(salted, "Server Key"u8, serverKey);
        CryptographicOperations.ZeroMemory(salted); // it is worth as much as the password
        return new ScramVerifier(iterations, salt, storedKey, serverKey);
    }

    /// <summary>Reads the text form of RFC 5803 back.</summary>
    /// <exception cref="FormatException">It is anything else.</exception>
    public static ScramVerifier Parse(string text)
    {
        var parts = text.StartsWith(Scheme, StringComparison.Ordinal) ? text[Scheme.Length..].Split('$', ':') : [];
        if (parts.Length != 4
            || !int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var iterations))
        {
            throw new FormatException("Not a SCRAM-SHA-256 verifier.");
        }
        try
        {
            return new ScramVerifier(
                iterations,
                Convert.FromBase64String(parts[1]),
                Convert.FromBase64String(parts[2]),
                Convert.FromBase64String(parts[3]));
        }
        catch (ArgumentException e)
        {
            throw new FormatException("Not a SCRAM-SHA-256 verifier.", e);
        }
    }

    /// <summary><c>SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey</c> (RFC 5803)</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Scheme}{Iterations}:{Convert.ToBase64String(_salt)}$")
        + $"{Convert.ToBase64String(_storedKey)}:{Convert.ToBase64String(_serverKey)}";
}
