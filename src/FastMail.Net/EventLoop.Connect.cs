namespace FastMail.Net;

/// <content>Connections that this side begins.</content>
public sealed partial class EventLoop
{
    private readonly int _outgoingCap;
    private volatile int _outgoingCount;

    /// <summary>Outgoing connections, from <see cref="Connect"/> until their socket is closed.</summary>
    public int OutgoingCount => _outgoingCount;

    /// <summary>Outgoing connections that may be open at a time: the cap, lowered to a quarter of the descriptors.</summary>
    public int OutgoingCap => _outgoingCap;

    /// <summary>
    /// Begins to connect. Exactly one of <see cref="IConnectionHandler.Opened"/> and
    /// <see cref="IOutgoingHandler.ConnectFailed"/> follows, never from inside this call. When the loop stops it is
    /// OperationAborted, over the cap TooManyOpenSockets.
    /// </summary>
    /// <returns>The connection to be; aborting it before it stands leads to ConnectFailed with OperationAborted.</returns>
    public Connection Connect(in ConnectTarget target, IOutgoingHandler handler)
    {
        DemandLoopThread();
        bool isOverCap = _outgoingCount >= _outgoingCap;
        _outgoingCount++;
        Connection connection = Rent();
        connection.BeginConnect(target, handler, isOverCap);
        return connection;
    }
}
