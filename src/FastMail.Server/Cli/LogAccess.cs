using FastMail.Server.Control;
using FastMail.Storage;

namespace FastMail.Server.Cli;

/// <summary>
/// The mail log of a data directory for looking at: beside the server that has it open, under its hold, or locked when
/// there is none. Owned by the verb; one thread.
/// </summary>
internal sealed class LogAccess : IDisposable
{
    private readonly ControlClient? _server;
    private readonly RemoteHold? _hold;

    private LogAccess(LogInspector log, ControlClient? server, RemoteHold? hold)
    {
        Log = log;
        _server = server;
        _hold = hold;
    }

    public LogInspector Log { get; }

    /// <summary>What the server says of itself; null when none runs.</summary>
    public ServerStatus? Status => _server?.Status();

    /// <summary>Throws what <see cref="LogInspector.Open(string)"/> and <see cref="ControlClient"/> throw.</summary>
    public static LogAccess Open(string directory)
    {
        ControlClient? server = ControlClient.TryConnect(directory);
        if (server is null)
        {
            return new LogAccess(LogInspector.Open(directory), null, null);
        }

        try
        {
            RemoteHold hold = server.Hold();
            return new LogAccess(LogInspector.Open(directory, hold.Extent), server, hold);
        }
        catch
        {
            server.Dispose(); // and the hold with it
            throw;
        }
    }

    /// <summary>To be asked behind the last octet that was read, before it counts.</summary>
    /// <exception cref="ControlException">The hold ended, so files may have changed while they were read.</exception>
    public void CheckHold()
    {
        if (_hold is { IsLost: true })
        {
            throw new ControlException("the server stopped meanwhile, and what it held for this may have changed; run it again");
        }
    }

    public void Dispose()
    {
        Log.Dispose();
        _hold?.Dispose();
        _server?.Dispose();
    }
}
