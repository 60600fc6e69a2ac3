using System.Security.Cryptography;

namespace FastMail.Protocol.Sasl;

/// <summary>
/// Who we are to a host that wants to know. Shared by the sessions with it; any thread. Keeps the last salted password,
/// as hosts mostly name the same salt again.
/// </summary>
public sealed class ClientCredentials
{
    private readonly Lock _gate = new();
    private readonly byte[] _user;
    private readonly byte[] _password;
    private byte[] _salt = [];
    private int _iterations;
    private byte[] _salted = [];

    /// <param name="user">UTF-8, 1 to 255 octets.</param>
    /// <param name="password">UTF-8, 1 to 255 octets.</param>
    /// <exception cref="ArgumentException">A length is out of range, or there is a NUL.</exception>
    public ClientCredentials(ReadOnlySpan<byte> user, ReadOnlySpan<byte> password)
    {
        if (!IsPart(user) || !IsPart(password))
        {
            throw new ArgumentException("User and password have 1 to 255 octets without a NUL.");
        }
        _user = user.ToArray();
        _password = password.ToArray();
    }

    internal ReadOnlySpan<byte> User => _user;

    internal ReadOnlySpan<byte> Password => _password;

    /// <summary>The salted password if it was derived before.</summary>
    internal bool TryFind(ReadOnlySpan<byte> salt, int iterations, Span<byte> salted)
    {
        lock (_gate)
        {
            if (iterations != _iterations || !salt.SequenceEqual(_salt))
            {
                return false;
            }
            _salted.CopyTo(salted);
            return true;
        }
    }

    internal void Derive(byte[] salt, int iterations)
    {
        var salted = Rfc2898DeriveBytes.Pbkdf2(
            _password, salt, iterations, HashAlgorithmName.SHA256, ScramVerifier.KeyBytes);
        lock (_gate)
        {
            (_salt, _iterations, _salted) = (salt, iterations, salted);
        }
    }

    private static bool IsPart(ReadOnlySpan<byte> part) =>
        part.Length is > 0 and <= Limits.SaslPartBytes && !part.Contains((byte)0);
}

/// <summary>
/// The slow part of SCRAM (PBKDF2, 100 ms and more), asked for by a session that waits for it. Made for one use.
/// </summary>
public sealed class PasswordDerivation
{
    private readonly ClientCredentials _credentials;
    private readonly byte[] _salt;
    private readonly int _iterations;

    internal PasswordDerivation(ClientCredentials credentials, ReadOnlySpan<byte> salt, int iterations)
    {
        _credentials = credentials;
        _salt = salt.ToArray();
        _iterations = iterations;
    }

    /// <summary>On a thread that may be held up; afterwards the session goes on.</summary>
    public void Run() => _credentials.Derive(_salt, _iterations);
}
