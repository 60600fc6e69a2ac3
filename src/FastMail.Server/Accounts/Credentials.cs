using System.Security.Cryptography;
using FastMail.Protocol.Sasl;

namespace FastMail.Server.Accounts;

/// <summary>All that is kept of one password: a hash for PLAIN and LOGIN, a verifier for SCRAM. Immutable.</summary>
/// <param name="Password">Hash with a salt of its own.</param>
/// <param name="Scram">
/// Verifier with another salt and the same cost, so that neither is the easier one to guess from. It is not derived from
/// the hash: who stole that could then log in without guessing.
/// </param>
internal sealed record Credentials(PasswordHash Password, ScramVerifier Scram)
{
    /// <summary>Takes two hashes' time, about 280 ms at the default cost: never call it on the loop.</summary>
    public static Credentials Create(ReadOnlySpan<byte> password, int iterations = PasswordHash.DefaultIterations)
    {
        Span<byte> salt = stackalloc byte[ScramVerifier.SaltBytes];
        RandomNumberGenerator.Fill(salt);
        return new Credentials(
            PasswordHash.Create(password, iterations), ScramVerifier.Create(password, salt, iterations));
    }
}
