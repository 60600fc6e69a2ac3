using System.Net.Sockets;

namespace FastMail.Net;

/// <content>
/// Sending: the output of a turn leaves in one call. What the socket does not take goes on asynchronously, a bounded
/// part of the first piece at a time, and each part that left offers the whole rest again.
/// </content>
public sealed partial class Connection
{
    private Outgoing? _outgoing;
    private bool _isSending;
    private MinimumRate _sendRate;

    /// <summary>
    /// A peer that takes its replies more slowly is closed, part by part of what is sent asynchronously; the deadline
    /// counts too. For this connection.
    /// </summary>
    public void SetSendRate(MinimumRate rate) => _sendRate = rate;

    /// <summary>True when everything is with the kernel; false when a send is in flight or the connection is over.</summary>
    private bool Flush()
    {
        if (_isSecure)
        {
            return FlushRecords();
        }

        while (_outgoing is { IsEmpty: false } outgoing)
        {
            long sent = outgoing.Send(_descriptor);
            if (sent < 0 && sent != -Native.WouldBlock && sent != -Native.Interrupted)
            {
                Over(ConnectionEnd.Broken);
                return false;
            }

            outgoing.Advance(Math.Max(sent, 0));
            if (!outgoing.IsEmpty && sent != -Native.Interrupted && SendHeadLater(outgoing))
            {
                return false;
            }
        }

        ReturnOutgoing();
        return true;
    }

    /// <summary>True when the send is in flight; false when it was taken after all or has failed for <see cref="Flush"/>.</summary>
    private bool SendHeadLater(Outgoing outgoing)
    {
        outgoing.Args.Owner = this;
        outgoing.Args.SetBuffer(outgoing.Head());
        _isSending = true;
        if (_socket!.SendAsync(outgoing.Args))
        {
            BoundSend(outgoing.Args.Count);
            return true;
        }

        _isSending = false;
        outgoing.Advance(outgoing.Args.BytesTransferred); // an error comes again with the next try, as an errno
        return false;
    }

    /// <summary>An asynchronous send has ended.</summary>
    private void Sent(LoopArgs args)
    {
        if (_isSecure)
        {
            _tls!.SocketSent(args.BytesTransferred); // which tells us by RecordLeft; an error comes with the next try
            return;
        }

        _isSending = false;
        if (_phase == Phase.Closed)
        {
            ReturnOutgoing();
            EndSession();
            ReleaseWhenQuiet();
        }
        else if (args.SocketError != SocketError.Success)
        {
            Over(ConnectionEnd.Broken);
        }
        else
        {
            _outgoing!.Advance(args.BytesTransferred);
            RenewDeadline(); // a slow reader that reads is not silent
            ServeAfterSend();
        }
    }

    private void ServeAfterSend()
    {
        int octets = EventLoopOptions.OctetsPerTurn;
        if (!Flush())
        {
            return;
        }

        if (_phase == Phase.Securing)
        {
            GoOnSecuring();
        }
        else if (FindNext(ref octets))
        {
            _isCallDue = true;
            Serve();
        }
    }

    private void ReturnOutgoing()
    {
        if (_outgoing is not null)
        {
            _loop.Outgoings.Return(_outgoing);
            _outgoing = null;
        }
    }
}
