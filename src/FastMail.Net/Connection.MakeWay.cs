namespace FastMail.Net;

/// <content>
/// Records without content: SslStream takes one after the other for as long as there are any, and the handler, whose calls
/// are counted, hears nothing of it. A client that has made a stream of them in advance would have the loop to itself, so
/// their octets are counted, and after a share of them the others get their turn. They do not move the deadline.
/// </content>
public sealed partial class Connection
{
    private bool _makesWay; // SslStream waits although there may be input

    private void MakeWay(TlsLayer tls)
    {
        tls.EmptyRecords = 0;
        if (!_makesWay)
        {
            _makesWay = true;
            _loop.Post(tls.ReceivesOn ??= new ReceivesOn(this));
        }
    }

    private void ReceiveOn()
    {
        _makesWay = false;
        if (_tls is { IsAwaitingInput: true } tls)
        {
            tls.SocketReadable();
        }
        else
        {
            ReleaseWhenQuiet(); // the connection is over, and this was the last that was under way
        }
    }

    /// <summary>The rest of an input that made way for others.</summary>
    private sealed class ReceivesOn(Connection connection) : ILoopWork
    {
        public void Run() => connection.ReceiveOn();
    }
}
