using System.Text;
using FastMail.Protocol.Sasl;

namespace FastMail.Tests.Protocol.Sasl;

/// <summary>The user of the example in RFC 7677 3: "user" with the password "pencil". Constants.</summary>
internal static class Rfc7677
{
    private const string ServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    public static ScramVerifier Pencil { get; } =
        ScramVerifier.Create("pencil"u8, Convert.FromBase64String("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096);

    /// <summary>Looks like the user's own to a client, and nothing proves it.</summary>
    public static ScramVerifier Decoy { get; } =
        new(4096, Pencil.Salt, new byte[ScramVerifier.KeyBytes], new byte[ScramVerifier.KeyBytes]);

    public static int Nonce(Span<byte> destination) => Encoding.ASCII.GetBytes(ServerNonce, destination);

    /// <summary>The token of RFC 7628 4.1.</summary>
    public static bool IsToken(ReadOnlySpan<byte> token) =>
        token.SequenceEqual("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="u8);
}
