using FastMail.Net;
using FastMail.Server.Defence;

namespace FastMail.Server.Proxy;

/// <summary>
/// Puts the PROXY header in front of another kind of handler: the handlers of a listener that only proxies of ours may
/// speak to. Loop thread only.
/// </summary>
internal sealed class ProxiedHandlers : IHandlerFactory
{
    /// <param name="inner">Serves the client that the header names.</param>
    /// <param name="peers">The proxies.</param>
    /// <param name="beginsWithTls">Behind the header the client begins with TLS.</param>
    public ProxiedHandlers(IHandlerFactory inner, Exemptions peers, bool beginsWithTls)
    {
        BeginsWithTls = beginsWithTls;
        Inner = inner;
        Peers = peers;
    }

    public ReadOnlyMemory<byte> Refusal => Inner.Refusal;

    public ReadOnlyMemory<byte> ClientRefusal => Inner.ClientRefusal;

    public bool DeclaresClients => true;

    internal IHandlerFactory Inner { get; }

    internal bool BeginsWithTls { get; }

    internal Exemptions Peers { get; }

    public IConnectionHandler Rent() => new ProxiedHandler(this);

    public void Return(IConnectionHandler handler)
    {
        if (((ProxiedHandler)handler).TakeInner() is { } inner)
        {
            Inner.Return(inner);
        }
    }
}
