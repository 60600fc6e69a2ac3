using System.Security.Cryptography;
using FastMail.Protocol.Sasl;

namespace FastMail.Server.Accounts;

/// <summary>
/// SCRAM verifiers for accounts that do not exist: the salt looks like any other and is the same each time, so that it
/// does not tell who lives here; no password matches. Derived from a secret of the store. Immutable; any thread.
/// </summary>
internal sealed class DecoyVerifiers
{
    private readonly byte[] _secret;

    /// <param name="secret">Kept with the accounts, so that a restart changes no salt.</param>
    public DecoyVerifiers(byte[] secret) => _secret = secret;

    /// <param name="name">The unknown name in lower case.</param>
    /// <param name="iterations">What a new account would have.</param>
    public ScramVerifier Make(ReadOnlySpan<byte> name, int iterations)
    {
        Span<byte> digest = stackalloc byte[HMACSHA512.HashSizeInBytes];
        HMACSHA512.HashData(_secret, name, digest);
        // The keys are never shown, and nobody knows what hashes to them.
        return new ScramVerifier(
            iterations, digest[..ScramVerifier.SaltBytes], digest[16..48], digest[32..64]);
    }
}
