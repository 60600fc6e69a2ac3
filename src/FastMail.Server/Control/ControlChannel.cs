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
/// open the socket is the operator, so there is no login; over TCP, when that is wanted, there is one. Owned by the <see cref="MailServer"/>; any thread.
/// </summary>
internal sealed class ControlChannel : IAsyncDisposable
{
    private const long BodyBytes = 1 << 20;
    private const int Connections = 64;

    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    private readonly WebApplication _app;
    private readonly WebApplication? _remote; // by itself: strangers at its port cannot use up the operator's connections
    private readonly ControlSocket _socket;

    private ControlChannel(WebApplication app, WebApplication? remote, ControlSocket socket)
    {
        _app = app;
        _remote = remote;
        _socket = socket;
    }

    /// <summary>Starts to answer.</summary>
    /// <param name="dataDirectory">Locked by this process.</param>
    /// <param name="parts">What is asked about.</param>
    /// <param name="door">Who may come in over TCP.</param>
    /// <param name="log">Told what goes wrong while answering.</param>
    /// <exception cref="IOException">The socket cannot be made, or a port is taken.</exception>
    /// <exception cref="System.Net.Sockets.SocketException">The same.</exception>
    public static async Task<ControlChannel> OpenAsync(
        string dataDirectory, ControlParts parts, AdminDoor door, ILogger log)
    {
        ControlSocket socket = ControlSocket.Of(dataDirectory);
        WebApplication? app = null;
        try
        {
            app = Build(log, kestrel => kestrel.ListenUnixSocket(socket.Address, Http1), _ => socket.Bind());
            ControlRoutes.Map(app, parts);
            await app.StartAsync();
            return new ControlChannel(app, await OpenRemoteAsync(parts, door, log), socket);
        }
        catch
        {
            if (app is not null)
            {
                await app.DisposeAsync();
            }

            socket.Dispose();
            throw;
        }
    }

    /// <summary>Ends what is being answered and takes the socket away.</summary>
    public async ValueTask DisposeAsync()
    {
        using (var soon = new CancellationTokenSource(StopTime))
        {
            await Task.WhenAll(_app.StopAsync(soon.Token), _remote?.StopAsync(soon.Token) ?? Task.CompletedTask);
        }

        if (_remote is not null)
        {
            await _remote.DisposeAsync();
        }

        await _app.DisposeAsync();
        _socket.Remove();
        _socket.Dispose();
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
            app.Use((http, next) => door.Refusal(http.Request) is var (status, why)
                ? Answers.Refuse(http, status, why)
                : next(http)); // in front of all routes, those that do not exist too
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
