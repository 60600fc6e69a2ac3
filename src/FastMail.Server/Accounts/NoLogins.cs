using FastMail.Protocol;

namespace FastMail.Server.Accounts;

/// <summary>Stands where AUTH is not offered: nobody's credentials are taken. Stateless; any thread.</summary>
internal sealed class NoLogins : IAuthenticator
{
    public static readonly NoLogins Instance = new();

    private NoLogins()
    {
    }

    public bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password) => false;
}
