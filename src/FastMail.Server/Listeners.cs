using System.Net;
using System.Net.Sockets;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Server.Defence;
using FastMail.Server.Proxy;

namespace FastMail.Server;

/// <summary>
/// The doors of the server: a listener for each role and address. Owned by the <see cref="MailServer"/>, which opens
/// them one after the other on its thread; any thread may ask which are open.
/// </summary>
internal sealed class Listeners
{
    public const string Mx = "mx";
    public const string Submission = "submission";
    public const string Submissions = "submissions";
    public const string Lmtp = "lmtp";
    public const string Pop3 = "pop3";
    public const string Pop3s = "pop3s";

    private static readonly string[] AlwaysTold = [Mx, Submission, Pop3, Submissions, Pop3s]; // new ones at the end

    private readonly EventLoop _loop;
    private readonly Stress _stress;
    private readonly Exemptions _proxies;
    private readonly IReadOnlyList<string> _proxied;
    private volatile (string Role, EndPoint EndPoint)[] _open = [];

    /// <param name="loop">Has the connections.</param>
    /// <param name="stress">Hurries those who are idle when it begins.</param>
    /// <param name="proxies">Who may name a client in a PROXY header.</param>
    /// <param name="proxied">Roles that such proxies stand in front of.</param>
    public Listeners(EventLoop loop, Stress stress, Exemptions proxies, IReadOnlyList<string> proxied)
    {
        _loop = loop;
        _stress = stress;
        _proxies = proxies;
        _proxied = proxied;
    }

    /// <summary>One line that tells scripts where to connect, e.g. <c>ready mx=127.0.0.1:2525 submission=none ...</c>.</summary>
    public string ReadyLine =>
        "ready " + string.Join(' ', AlwaysTold.Select(role => $"{role}={EndPointsOf(role)}"))
        + (Array.Exists(_open, l => l.Role == Lmtp) ? $" {Lmtp}={EndPointsOf(Lmtp)}" : "");

    /// <summary>Where mail comes in over TCP.</summary>
    public IEnumerable<IPEndPoint> OfMail =>
        _open.Where(l => l.Role is not (Pop3 or Pop3s)).Select(l => l.EndPoint).OfType<IPEndPoint>();

    /// <summary>The first TCP listener of a role, or null when it has none.</summary>
    public IPEndPoint? EndPointOf(string role) =>
        _open.Where(l => l.Role == role).Select(l => l.EndPoint).OfType<IPEndPoint>().FirstOrDefault();

    /// <summary>Listens at each address.</summary>
    /// <param name="role">What for.</param>
    /// <param name="endPoints">TCP, or paths of unix sockets.</param>
    /// <param name="tls">On demand, or from the first octet.</param>
    /// <param name="handlers">Makes the handlers of a listener; told whether it is private, so that passwords may come in the clear.</param>
    /// <exception cref="ListenException">An address cannot be had.</exception>
    public void Open<T>(string role, IEnumerable<EndPoint> endPoints, ListenerTls tls, Func<bool, HandlerPool<T>> handlers)
        where T : class, IPooledHandler
    {
        bool isProxied = _proxied.Contains(role, StringComparer.Ordinal);
        foreach (EndPoint endPoint in endPoints)
        {
            // Without TLS only loopback is private, and only where no proxy brings clients from elsewhere.
            HandlerPool<T> pool = handlers(endPoint is IPEndPoint ip && IPAddress.IsLoopback(ip.Address) && !isProxied);
            _stress.Began += pool.Hurry;
            IHandlerFactory factory = isProxied ? new ProxiedHandlers(pool, _proxies, tls.IsImplicit) : pool;
            _open = [.. _open, (role, Listen(role, endPoint, factory, tls))];
        }
    }

    private EndPoint Listen(string role, EndPoint endPoint, IHandlerFactory handlers, ListenerTls tls)
    {
        try
        {
            if (endPoint is not UnixDomainSocketEndPoint path)
            {
                return _loop.Listen((IPEndPoint)endPoint, handlers, tls).LocalEndPoint;
            }

            _loop.ListenLocally(path, handlers, tls);
            return path;
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException)
        {
            throw new ListenException($"cannot listen on {Cli.Arguments.TextOf(endPoint)} for {role}: {e.Message}", e);
        }
    }

    private string EndPointsOf(string role) =>
        string.Join(',', _open.Where(l => l.Role == role).Select(l => Cli.Arguments.TextOf(l.EndPoint)).DefaultIfEmpty("none"));
}

/// <summary>An address cannot be listened on; the message says which and why.</summary>
internal sealed class ListenException : Exception
{
    public ListenException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
