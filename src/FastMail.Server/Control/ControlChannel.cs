using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Control;

/// <summary>
/// HTTP with JSON on the data directory's unix socket: what the administrative verbs ask a running server. Whoever may
/// open the socket is the operator, so there is no login; over TCP, when that is wanted, there is one. The web server
/// and its thirty assemblies are loaded when the first verb knocks: most of the time nobody asks anything. Owned by the
/// <see cref="MailServer"/>; any thread.
/// </summary>
internal sealed class ControlChannel : IAsyncDisposable
{
    private const long BodyBytes = 1 << 20;
    private const int Connections = 64;

    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    private readonly ControlSocket _socket;
    private readonly ControlParts _parts;
    private readonly ILogger _log;
    private readonly WebApplication? _remote; // by itself: strangers at its port cannot use up the operator's connections
    private readonly Thread _doorkeeper;
    private Socket _listener; // the doorkeeper's, then the web server's
    private WebApplication? _app; // written by the doorkeeper, read when that has ended
    private volatile bool _isStopped;

    private ControlChannel(ControlSocket socket, Socket listener, ControlParts parts, WebApplication? remote, ILogger log)
    {
        _socket = socket;
        _listener = listener;
        _parts = parts;
        _remote = remote;
        _log = log;
        _doorkeeper = new Thread(AwaitKnock) { Name = "fastmail control", IsBackground = true };
        _doorkeeper.Start();
    }

    /// <summary>Where it answers over TCP, if it does.</summary>
    public IPEndPoint? RemoteEndPoint => _remote is null ? null : IPEndPoint.Parse(new Uri(_remote.Urls.First()).Authority);

    /// <summary>
    /// Starts to listen. A port of <paramref name="door"/> that cannot be had is told, and costs nobody the socket.
    /// </summary>
    /// <param name="dataDirectory">Locked by this process.</param>
    /// <param name="parts">What is asked about.</param>
    /// <param name="door">Who may come in over TCP.</param>
    /// <param name="log">Told what goes wrong while answering.</param>
    /// <exception cref="IOException">The socket cannot be made.</exception>
    /// <exception cref="SocketException">The same.</exception>
    public static async Task<ControlChannel> OpenAsync(
        string dataDirectory, ControlParts parts, AdminDoor door, ILogger log)
    {
        ControlSocket socket = ControlSocket.Of(dataDirectory);
        Socket listener;
        try
        {
            listener = socket.Listen();
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        WebApplication? remote = null;
        try
        {
            remote = await OpenRemoteAsync(parts, door, log);
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            log.LogError("admin.listen is not open, the verbs reach this server by its data directory only: {Reason}", e.Message);
        }

        return new ControlChannel(socket, listener, parts, remote, log);
    }

    /// <summary>Ends what is being answered and takes the socket away.</summary>
    public async ValueTask DisposeAsync()
    {
        _isStopped = true;
        if (_doorkeeper.IsAlive)
        {
            Knock();
            _doorkeeper.Join();
        }

        using (var soon = new CancellationTokenSource(StopTime))
        {
            await Task.WhenAll(
                _app?.StopAsync(soon.Token) ?? Task.CompletedTask, _remote?.StopAsync(soon.Token) ?? Task.CompletedTask);
        }

        foreach (WebApplication? app in new[] { _app, _remote })
        {
            if (app is not null)
            {
                await app.DisposeAsync();
            }
        }

        _listener.Dispose();
        _socket.Remove();
        _socket.Dispose();
    }

    /// <summary>The doorkeeper's thread: the first connection waits in the kernel until the web server accepts it.</summary>
    private void AwaitKnock()
    {
        while (true)
        {
            _ = _listener.Poll(Timeout.InfiniteTimeSpan, SelectMode.SelectRead);
            if (_isStopped)
            {
                return;
            }

            try
            {
                _app = StartAsync().GetAwaiter().GetResult();
                return;
            }
            catch (Exception e)
            {
                _log.LogError(e, "the control channel cannot answer; the next verb has it try again");
            }

            // Whoever waits hears that nobody is there. The web server may have closed the listener with itself.
            _listener.Dispose();
            try
            {
                _listener = _socket.Listen();
            }
            catch (Exception e) when (e is IOException or SocketException or UnauthorizedAccessException)
            {
                _log.LogError("the control channel is closed, the verbs will not reach this server: {Reason}", e.Message);
                return;
            }
        }
    }

    /// <summary>Wakes the doorkeeper. When nobody listens any more it has ended, or is about to.</summary>
    private void Knock()
    {
        try
        {
            _socket.Connect().Dispose();
        }
        catch (SocketException e)
        {
            _log.LogDebug("the control channel was closed already: {Reason}", e.Message);
        }
    }

    private async Task<WebApplication> StartAsync()
    {
        WebApplication app = Build(_log, kestrel => kestrel.ListenUnixSocket(_socket.Address, Http1), _ => _listener);
        try
        {
            ControlRoutes.Map(app, _parts);
            await app.StartAsync();
            return app;
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
    }

    private static async Task<WebApplication?> OpenRemoteAsync(ControlParts parts, AdminDoor door, ILogger log)
    {
        if (door.EndPoints.Count == 0)
        {
            return null;
        }

        WebApplication app = Build(
            log,
            kestrel =>
            {
                foreach (IPEndPoint endPoint in door.EndPoints)
                {
                    kestrel.Listen(endPoint, Http1);
                }
            },
            SocketTransportOptions.CreateDefaultBoundListenSocket);
        try
        {
            app.Use((http, next) =>
            {
                if (door.Refusal(http.Request) is not var (status, why))
                {
                    return next(http);
                }

                http.Response.Headers.Connection = "close"; // a stranger, or nobody knows where the next request begins
                return Answers.Refuse(http, status, why);
            }); // in front of all routes, those that do not exist too
            ControlRoutes.Map(app, parts);
            await app.StartAsync();
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }

        log.LogInformation("the control channel answers on {Addresses} too", string.Join(", ", app.Urls));
        if (door.EndPoints.Any(e => !IPAddress.IsLoopback(e.Address)))
        {
            log.LogWarning("admin.listen is in the clear: between another machine and this one its token needs a tunnel");
        }

        return app;
    }

    private static WebApplication Build(ILogger log, Action<KestrelServerOptions> listen, Func<EndPoint, Socket> bind)
    {
        // The empty builder: no configuration file or variable of the working directory may open another door.
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton<IHostLifetime, NoSignals>();
        builder.Services.AddSingleton<ILoggerFactory>(new OneLogger(log));
        builder.Services.Configure<SocketTransportOptions>(o => o.CreateBoundListenSocket = bind);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = BodyBytes;
            kestrel.Limits.MaxConcurrentConnections = Connections;
            listen(kestrel);
        });
        return builder.Build();
    }

    private static void Http1(ListenOptions listener) => listener.Protocols = HttpProtocols.Http1;

    /// <summary>The program handles its signals itself. Stateless.</summary>
    private sealed class NoSignals : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>Warnings and worse of the web server go to the program's own log. Any thread.</summary>
    private sealed class OneLogger : ILoggerFactory, ILogger
    {
        private readonly ILogger _log;

        public OneLogger(ILogger log) => _log = log;

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public void Dispose()
        {
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning && _log.IsEnabled(logLevel);

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
            {
                _log.Log(logLevel, eventId, state, exception, (s, e) => "control: " + formatter(s, e));
            }
        }
    }
}
