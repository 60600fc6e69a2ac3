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
/// A web server that answers what administrative verbs ask. What runs at a start must not name the web server's types,
/// only this one: that keeps its thirty assemblies out of a process that nobody asks anything. Any thread.
/// </summary>
internal sealed class ControlHost : IAsyncDisposable
{
    private const long BodyBytes = 1 << 20;
    private const int Connections = 64;

    private readonly WebApplication _app;

    private ControlHost(WebApplication app) => _app = app;

    /// <summary>Its first address.</summary>
    public IPEndPoint EndPoint => IPEndPoint.Parse(new Uri(_app.Urls.First()).Authority);

    /// <summary>For whoever may open the socket: no login.</summary>
    /// <param name="socket">Where it lies.</param>
    /// <param name="listener">Listens there; owned by the web server from now on, also when it cannot start.</param>
    /// <param name="parts">What is asked about.</param>
    /// <param name="log">Told what goes wrong while answering.</param>
    public static Task<ControlHost> StartAsync(ControlSocket socket, Socket listener, ControlParts parts, ILogger log)
    {
        WebApplication app = Build(log, kestrel => kestrel.ListenUnixSocket(socket.Address, Http1), _ => listener);
        return StartAsync(app, parts);
    }

    /// <summary>For whoever the door lets in, over TCP.</summary>
    /// <exception cref="IOException">A port cannot be had.</exception>
    /// <exception cref="SocketException">The same.</exception>
    public static async Task<ControlHost> StartAsync(AdminDoor door, ControlParts parts, ILogger log)
    {
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
        app.Use((http, next) =>
        {
            if (door.Refusal(http.Request) is not var (status, why))
            {
                return next(http);
            }

            http.Response.Headers.Connection = "close"; // a stranger, or nobody knows where the next request begins
            return Answers.Refuse(http, status, why);
        }); // in front of all routes, those that do not exist too
        ControlHost host = await StartAsync(app, parts);
        log.LogInformation("the control channel answers on {Addresses} too", string.Join(", ", app.Urls));
        if (door.EndPoints.Any(e => !IPAddress.IsLoopback(e.Address)))
        {
            log.LogWarning("admin.listen is in the clear: between another machine and this one its token needs a tunnel");
        }

        return host;
    }

    /// <summary>Ends what is being answered, within the time.</summary>
    public Task StopAsync(CancellationToken soon) => _app.StopAsync(soon);

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private static async Task<ControlHost> StartAsync(WebApplication app, ControlParts parts)
    {
        try
        {
            ControlRoutes.Map(app, parts);
            await app.StartAsync();
            return new ControlHost(app);
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
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
