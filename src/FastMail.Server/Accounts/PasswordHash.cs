using System.Globalization;
using System.Security.Cryptography;

namespace FastMail.Server.Accounts;

/// <summary>
/// A PBKDF2-HMAC-SHA256 password verifier (RFC 8018 5.2) in PHC string form:
/// <c>$pbkdf2-sha256$i=600000$salt$hash</c>, salt 16 and hash 32 octets in base64. Immutable.
/// </summary>
internal sealed class PasswordHash
{
    /// <summary>Rounds of a new hash; OWASP's advice for PBKDF2-HMAC-SHA256, about 140 ms on one core.</summary>
    public const int DefaultIterations = 600_000;

    private const string Scheme = "pbkdf2-sha256";
    private const int SaltBytes = 16;
    private const int KeyBytes = 32;

    private readonly int _iterations;
    private readonly byte[] _salt;
    private readonly byte[] _key;

    private PasswordHash(int iterations, byte[] salt, byte[] key)
    {
        _iterations = iterations;
        _salt = salt;
        _key = key;
    }

    /// <summary>
    /// Stands in for an unknown account, so that a wrong name costs what a wrong password costs. Nothing matches it:
    /// its key is random and was never derived from a password.
    /// </summary>
    public static PasswordHash MakeDecoy(int iterations) =>
        new(iterations, RandomNumberGenerator.GetBytes(SaltBytes), RandomNumberGenerator.GetBytes(KeyBytes));

    /// <summary>Rounds of this hash.</summary>
    public int Iterations => _iterations;

    public static PasswordHash Create(ReadOnlySpan<byte> password, int iterations = DefaultIterations)
    {
        byte[] salt = RandomNumberGenerator.GetBytes(SaltBytes);
        byte[] key = Rfc2898DeriveBytes.Pbkdf2(password, salt, iterations, HashAlgorithmName.SHA256, KeyBytes);
        return new PasswordHash(iterations, salt, key);
    }

    /// <summary>Reads the PHC form back. Throws <see cref="FormatException"/> on anything else.</summary>
    public static PasswordHash Parse(string text)
    {
        string[] parts = text.Split('$');
        if (parts.Length != 5 || parts[0].Length != 0 || parts[1] != Scheme
            || !parts[2].StartsWith("i=", StringComparison.Ordinal)
            || !int.TryParse(parts[2].AsSpan(2), NumberStyles.None, CultureInfo.InvariantCulture, out int iterations)
            || iterations < 1)
        {
            throw new FormatException("Not a pbkdf2-sha256 PHC string.");
        }

        return new PasswordHash(iterations, Convert.FromBase64String(parts[3]), Convert.FromBase64String(parts[4]));
    }

    /// <summary>Takes about 140 ms: never call it on the loop.</summary>
    public bool Matches(ReadOnlySpan<byte> password)
    {
        Span<byte> key = stackalloc byte[KeyBytes];
        Rfc2898DeriveBytes.Pbkdf2(password, _salt, key, _iterations, HashAlgorithmName.SHA256);
        bool matches = CryptographicOperations.FixedTimeEquals(key, _key);
        CryptographicOperations.ZeroMemory(key);
        return matches;
    }

    public override string ToString() =>
        $"${Scheme}$i={_iterations}${Convert.ToBase64String(_salt)}${Convert.ToBase64String(_key)}";
}
