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
    private const int MostThreads = 32; // each does little but wait
    private const int MostFetches = 256; // under way and waiting: so the last of them waits two minutes
    private const int MostOfParent = MostThreads / 2; // a domain with many silent ones below it leaves others room
    private const string Path = "/.well-known/mta-sts.txt";

    private static readonly TimeSpan ConnectTime = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan ConnectLook = TimeSpan.FromMilliseconds(100); // whether to go on
    private static readonly TimeSpan WholeTime = TimeSpan.FromSeconds(15); // mail of the domain waits meanwhile

    private readonly BlockingCollection<Fetch> _fetches = [];
    private readonly Dictionary<string, int> _ofParent = new(StringComparer.Ordinal); // fetches that have not ended
    private readonly CancellationTokenSource _closing = new();
    private readonly Lazy<HttpClient> _http; // made for the first fetch: until then nobody needs what is behind it
    private readonly X509Certificate2Collection? _anchors;
    private readonly int _port;
    private readonly List<Thread> _threads = []; // as many as were needed at one time
    private readonly Lock _gate = new();
    private int _count; // fetches that have not ended

    /// <param name="anchors">Authorities to believe; null for those of this machine.</param>
    /// <param name="port">443, but in tests.</param>
    public StsFetcher(X509Certificate2Collection? anchors, int port)
    {
        _port = port;
        _anchors = anchors;
        _http = new Lazy<HttpClient>(MakeClient);
    }

    /// <summary>False when too many are under way or wait, in all or of the domain that this one belongs to.</summary>
    /// <param name="domain">Whose policy, A-labels.</param>
    /// <param name="addresses">Of its policy host, to be connected to.</param>
    /// <param name="ended">Called once, on a thread of the fetcher: the policy, or null with the reason why there is none.</param>
    public bool TryBegin(string domain, IReadOnlyList<IPAddress> addresses, Action<StsPolicy?, string> ended)
    {
        lock (_gate)
        {
            string parent = ParentOf(domain);
            int ofParent = _ofParent.GetValueOrDefault(parent);
            if (_fetches.IsAddingCompleted || _count == MostFetches || ofParent == MostOfParent)
            {
                return false;
            }

            _ofParent[parent] = ofParent + 1;
            _count++;
            _fetches.Add(new Fetch(domain, addresses, ended));
            if (_threads.Count < Math.Min(_count, MostThreads))
            {
                var thread = new Thread(Run) { IsBackground = true, Name = "mta-sts" };
                thread.Start();
                _threads.Add(thread);
            }
        }

        return true;
    }

    /// <summary>Fetches that wait are never ended.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _fetches.CompleteAdding(); // and no thread is started any more
        }

        while (_fetches.TryTake(out _))
        {
        }

        _closing.Cancel();
        _threads.ForEach(thread => thread.Join());
        if (_http.IsValueCreated)
        {
            _http.Value.Dispose();
        }

        _fetches.Dispose();
        _closing.Dispose();
    }

    /// <summary>The name under which a domain publishes its policy.</summary>
    public static string HostOf(string domain) => "mta-sts." + domain;

    /// <summary>The last two labels: all below is one owner's, or, as with co.uk, that of many.</summary>
    private static string ParentOf(string domain)
    {
        int dot = domain.LastIndexOf('.');
        return dot <= 0 ? domain : domain[(domain.LastIndexOf('.', dot - 1) + 1)..];
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
            ConnectCallback = static (context, _) => ValueTask.FromResult(
                context.InitialRequestMessage.Options.TryGetValue(OfferedStream.Key, out OfferedStream? stream)
                    ? stream.Take()
                    : throw new IOException("it was not connected")),
        })
        {
            Timeout = Timeout.InfiniteTimeSpan, // each has a time of its own, which begins before
            MaxResponseContentBufferSize = StsPolicy.MostBytes,
        };
    }

    private void Run()
    {
        foreach (Fetch fetch in _fetches.GetConsumingEnumerable())
        {
            (StsPolicy? policy, string why) = Get(fetch);
            lock (_gate)
            {
                _count--;
                string parent = ParentOf(fetch.Domain);
                if (--_ofParent[parent] == 0)
                {
                    _ofParent.Remove(parent);
                }
            }

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
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token);
        patience.CancelAfter(WholeTime);
        try
        {
            // Here and not when the client asks for it, which it does on a thread of the pool, and those are few.
            using var stream = new OfferedStream(Connect(fetch.Addresses));
            request.Options.Set(OfferedStream.Key, stream);
            using HttpResponseMessage response = _http.Value.Send(request, patience.Token);
            if (response.StatusCode != HttpStatusCode.OK)
            {
                return (null, $"{HostOf(fetch.Domain)} answers {(int)response.StatusCode}");
            }

            using var content = new MemoryStream();
            response.Content.CopyTo(content, context: null, patience.Token);
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
    private void Connect(Socket socket, IPEndPoint endPoint)
    {
        try
        {
            socket.Connect(endPoint);
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.WouldBlock or SocketError.InProgress)
        {
            int looks = (int)(ConnectTime / ConnectLook);
            while (!socket.Poll(ConnectLook, SelectMode.SelectWrite))
            {
                if (--looks == 0 || _closing.IsCancellationRequested)
                {
                    throw new SocketException((int)SocketError.TimedOut);
                }
            }

            var error = (int)socket.GetSocketOption(SocketOptionLevel.Socket, SocketOptionName.Error)!;
            if (error != 0)
            {
                throw new SocketException(error);
            }
        }
    }

    /// <summary>One policy to fetch. Immutable.</summary>
    private sealed record Fetch(string Domain, IReadOnlyList<IPAddress> Addresses, Action<StsPolicy?, string> Ended);

    /// <summary>
    /// A connection for the client, which owns what it has taken: of two requests to one host each may get the other's.
    /// Any thread.
    /// </summary>
    private sealed class OfferedStream(Stream stream) : IDisposable
    {
        private Stream? _stream = stream;

        public static HttpRequestOptionsKey<OfferedStream> Key { get; } = new("fastmail.stream");

        public Stream Take() => Interlocked.Exchange(ref _stream, null) ?? throw new IOException("it was taken before");

        public void Dispose() => Interlocked.Exchange(ref _stream, null)?.Dispose();
    }
}
