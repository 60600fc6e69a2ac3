using FastMail.Protocol;
using FastMail.Protocol.Sasl;

namespace FastMail.Server.Accounts;

/// <summary>Stands where AUTH is not offered: nobody's credentials are taken. Stateless; any thread.</summary>
internal sealed class NoLogins : IAuthenticator
{
    public static readonly NoLogins Instance = new();

    private NoLogins()
    {
    }

    public bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password) => false;

    public ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity) => null;

    public bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight) => false;

    public bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token) => false;
}
