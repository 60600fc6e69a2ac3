using System.Net;
using System.Net.Sockets;
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
    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    private readonly ControlSocket _socket;
    private readonly ControlParts _parts;
    private readonly ILogger _log;
    private readonly ControlHost? _remote; // by itself: strangers at its port cannot use up the operator's connections
    private readonly Thread _doorkeeper;
    private Socket _listener; // the doorkeeper's, then the web server's
    private ControlHost? _app; // written by the doorkeeper, read when that has ended
    private volatile bool _isStopped;

    private ControlChannel(ControlSocket socket, Socket listener, ControlParts parts, ControlHost? remote, ILogger log)
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
    public IPEndPoint? RemoteEndPoint => _remote?.EndPoint;

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

        ControlHost? remote = null;
        try
        {
            remote = door.EndPoints.Count > 0 ? await ControlHost.StartAsync(door, parts, log) : null;
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

        foreach (ControlHost? app in new[] { _app, _remote })
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
                _app = ControlHost.StartAsync(_socket, _listener, _parts, _log).GetAwaiter().GetResult();
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
}
