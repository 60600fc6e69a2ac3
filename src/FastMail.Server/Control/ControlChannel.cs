using FastMail.Server.Relay.Routing;
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
/// open the socket is the operator, so there is no login. Owned by the <see cref="MailServer"/>; any thread.
/// </summary>
internal sealed class ControlChannel : IAsyncDisposable
{
    private const long BodyBytes = 1 << 20;
    private const int Connections = 64;

    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    private readonly WebApplication _app;
    private readonly ControlSocket _socket;

    private ControlChannel(WebApplication app, ControlSocket socket)
    {
        _app = app;
        _socket = socket;
    }

    /// <summary>Starts to answer.</summary>
    /// <param name="dataDirectory">Locked by this process.</param>
    /// <param name="store">What is asked about.</param>
    /// <param name="router">Explains its decisions.</param>
    /// <param name="log">Told what goes wrong while answering.</param>
    /// <exception cref="IOException">The socket cannot be made.</exception>
    /// <exception cref="System.Net.Sockets.SocketException">The same.</exception>
    public static async Task<ControlChannel> OpenAsync(
        string dataDirectory, OpenStore store, Router router, ILogger log)
    {
        ControlSocket socket = ControlSocket.Of(dataDirectory);
        try
        {
            // The empty builder: no configuration file or variable of the working directory may open another door.
            WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.Services.AddRoutingCore();
            builder.Services.AddSingleton<IHostLifetime, NoSignals>();
            builder.Services.AddSingleton<ILoggerFactory>(new OneLogger(log));
            builder.Services.Configure<SocketTransportOptions>(o => o.CreateBoundListenSocket = _ => socket.Bind());
            builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
            {
                kestrel.AddServerHeader = false;
                kestrel.Limits.MaxRequestBodySize = BodyBytes;
                kestrel.Limits.MaxConcurrentConnections = Connections;

                // A listener on an address would be added here, behind a check of its token; the routes are the same.
                kestrel.ListenUnixSocket(socket.Address, listener => listener.Protocols = HttpProtocols.Http1);
            });
            WebApplication app = builder.Build();
            try
            {
                ControlRoutes.Map(app, store, router);
                await app.StartAsync();
                return new ControlChannel(app, socket);
            }
            catch
            {
                await app.DisposeAsync();
                throw;
            }
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Ends what is being answered and takes the socket away.</summary>
    public async ValueTask DisposeAsync()
    {
        using (var soon = new CancellationTokenSource(StopTime))
        {
            await _app.StopAsync(soon.Token);
        }

        await _app.DisposeAsync();
        _socket.Remove();
        _socket.Dispose();
    }

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
