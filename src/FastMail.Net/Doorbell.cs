using System.Net.Sockets;

namespace FastMail.Net;

/// <summary>
/// Wakes the runtime's poll thread: one octet over a socket pair whose other end is registered like any connection.
/// Owned by an inline loop; <see cref="Ring"/> from any thread, the rest on the loop thread.
/// </summary>
internal sealed unsafe class Doorbell : SocketAsyncEventArgs
{
    private readonly Socket _inside;
    private readonly Socket _outside;
    private readonly Action _rung;
    private volatile bool _isDisposed;

    public Doorbell(Action rung)
        : base(true) // no execution context flows: nothing here is a request
    {
        (int left, int right) = Native.SocketPair();
        _inside = new Socket(new SafeSocketHandle(left, ownsHandle: true));
        _outside = new Socket(new SafeSocketHandle(right, ownsHandle: true));
        _rung = rung;
        SetBuffer(new byte[64], 0, 64);
    }

    /// <summary>
    /// Waits for the next ring. A ring that is there already is taken and answered with a new one instead of being
    /// acted on: so what is ready on other sockets always comes first and a busy bell cannot starve them.
    /// </summary>
    public void Listen()
    {
        bool isRung = false;
        while (!_isDisposed && !_inside.ReceiveAsync(this))
        {
            isRung = true;
        }

        if (isRung)
        {
            Ring();
        }
    }

    /// <exception cref="ObjectDisposedException">The loop has ended.</exception>
    public void Ring()
    {
        byte octet = 1;
        // A full pair (EAGAIN) holds octets that wake the loop just as well, so the result does not matter.
        _ = Native.Ring(_outside.SafeHandle, &octet, 1, Native.DontWait | Native.NoSignal);
    }

    public void Close()
    {
        _isDisposed = true;
        _inside.Dispose();
        _outside.Dispose();
    }

    protected override void OnCompleted(SocketAsyncEventArgs e)
    {
        if (!_isDisposed)
        {
            _rung();
        }
    }
}
