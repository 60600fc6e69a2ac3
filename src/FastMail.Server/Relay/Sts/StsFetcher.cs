using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;

namespace FastMail.Server.Relay.Sts;

/// <summary>
/// Fetches policies over HTTPS on threads of its own, with blocking calls: what an asynchronous one awaits would go on
/// inside a socket's completion, on the loop. <see cref="TryBegin"/> is for any thread.
/// </summary>
internal sealed class StsFetcher : IDisposable
{
    private const int Threads = 2;
    private const int MostWaiting = 1000;
    private const string Path = "/.well-known/mta-sts.txt";

    private static readonly TimeSpan ConnectTime = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan WholeTime = TimeSpan.FromSeconds(15); // mail of the domain waits meanwhile

    private readonly BlockingCollection<Fetch> _fetches = new(MostWaiting);
    private readonly X509Certificate2Collection? _anchors;
    private readonly int _port;
    private readonly List<Thread> _threads = [];
    private readonly Lock _gate = new();
    private HttpClient? _http; // made for the first fetch: until then nobody needs what is behind it

    /// <param name="anchors">Authorities to believe; null for those of this machine.</param>
    /// <param name="port">443, but in tests.</param>
    public StsFetcher(X509Certificate2Collection? anchors, int port)
    {
        _port = port;
        _anchors = anchors;
        for (int i = 0; i < Threads; i++)
        {
            var thread = new Thread(Run) { IsBackground = true, Name = "mta-sts" };
            thread.Start();
            _threads.Add(thread);
        }
    }

    /// <summary>False when too many wait.</summary>
    /// <param name="domain">Whose policy, A-labels.</param>
    /// <param name="addresses">Of its policy host, to be connected to.</param>
    /// <param name="ended">Called once, on a thread of the fetcher: the policy, or null with the reason why there is none.</param>
    public bool TryBegin(string domain, IReadOnlyList<IPAddress> addresses, Action<StsPolicy?, string> ended) =>
        !_fetches.IsAddingCompleted && _fetches.TryAdd(new Fetch(domain, addresses, ended));

    /// <summary>Fetches that wait are never ended.</summary>
    public void Dispose()
    {
        _fetches.CompleteAdding();
        while (_fetches.TryTake(out _))
        {
        }

        lock (_gate)
        {
            _http?.CancelPendingRequests();
        }

        _threads.ForEach(thread => thread.Join());
        _http?.Dispose();
        _fetches.Dispose();
    }

    /// <summary>The name under which a domain publishes its policy.</summary>
    public static string HostOf(string domain) => "mta-sts." + domain;

    private HttpClient Client()
    {
        lock (_gate)
        {
            return _http ??= MakeClient();
        }
    }

    private HttpClient MakeClient()
    {
        var tls = new SslClientAuthenticationOptions();
        if (_anchors is not null)
        {
            tls.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
            };
            tls.CertificateChainPolicy.CustomTrustStore.AddRange(_anchors);
        }

        return new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false, // RFC 8461 3.3: redirects must not be followed
            UseProxy = false,
            UseCookies = false,
            SslOptions = tls,
            PooledConnectionLifetime = TimeSpan.Zero, // one policy a host
            MaxResponseHeadersLength = 16,
            ConnectCallback = (context, _) => ValueTask.FromResult<Stream>(
                Connect(context.InitialRequestMessage.Options.TryGetValue(Fetch.Key, out Fetch? fetch) ? fetch.Addresses : [])),
        })
        {
            Timeout = WholeTime,
            MaxResponseContentBufferSize = StsPolicy.MostBytes,
        };
    }

    private void Run()
    {
        foreach (Fetch fetch in _fetches.GetConsumingEnumerable())
        {
            (StsPolicy? policy, string why) = Get(fetch);
            fetch.Ended(policy, why);
        }
    }

    private (StsPolicy? Policy, string Why) Get(Fetch fetch)
    {
        string port = _port == 443 ? "" : $":{_port}";
        using var request = new HttpRequestMessage(HttpMethod.Get, $"https://{HostOf(fetch.Domain)}{port}{Path}")
        {
            Version = HttpVersion.Version11, // blocking calls know no other
        };
        request.Options.Set(Fetch.Key, fetch);
        try
        {
            using HttpResponseMessage response = Client().Send(request);
            if (response.StatusCode != HttpStatusCode.OK)
            {
                return (null, $"{HostOf(fetch.Domain)} answers {(int)response.StatusCode}");
            }

            using var content = new MemoryStream();
            response.Content.CopyTo(content, context: null, CancellationToken.None);
            return StsPolicy.Parse(content.GetBuffer().AsSpan(0, (int)content.Length)) is { } policy
                ? (policy, "")
                : (null, $"what {HostOf(fetch.Domain)} answers is not a policy");
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException or OperationCanceledException)
        {
            return (null, $"{HostOf(fetch.Domain)}: {e.InnerException?.Message ?? e.Message}");
        }
    }

    private NetworkStream Connect(IReadOnlyList<IPAddress> addresses)
    {
        var error = new SocketException((int)SocketError.HostNotFound);
        foreach (IPAddress address in addresses.Take(2))
        {
            var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { Blocking = false };
            try
            {
                Connect(socket, new IPEndPoint(address, _port));
                socket.Blocking = true;
                socket.ReceiveTimeout = socket.SendTimeout = (int)WholeTime.TotalMilliseconds;
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch (SocketException e)
            {
                error = e;
                socket.Dispose();
            }
        }

        throw error;
    }

    /// <summary>Connects within the time, which a blocking call does not know.</summary>
    private static void Connect(Socket socket, IPEndPoint endPoint)
    {
        try
        {
            socket.Connect(endPoint);
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.WouldBlock or SocketError.InProgress)
        {
            if (!socket.Poll(ConnectTime, SelectMode.SelectWrite))
            {
                throw new SocketException((int)SocketError.TimedOut);
            }

            var error = (int)socket.GetSocketOption(SocketOptionLevel.Socket, SocketOptionName.Error)!;
            if (error != 0)
            {
                throw new SocketException(error);
            }
        }
    }

    /// <summary>One policy to fetch. Immutable.</summary>
    private sealed record Fetch(string Domain, IReadOnlyList<IPAddress> Addresses, Action<StsPolicy?, string> Ended)
    {
        public static HttpRequestOptionsKey<Fetch> Key { get; } = new("fastmail.fetch");
    }
}
