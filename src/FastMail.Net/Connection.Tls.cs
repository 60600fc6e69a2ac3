using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace FastMail.Net;

/// <content>
/// TLS: the handshake, whose steps alternate between the loop (octets) and a worker (public keys), and afterwards the
/// records, which SslStream asks for and hands over through the methods at the end.
/// </content>
public sealed partial class Connection
{
    private ListenerTls? _listenerTls;
    private TlsLayer? _tls;
    private bool _isSecure; // the handshake is over: everything goes through the layer
    private bool _isStepping; // a worker owns the layer and the slab

    /// <summary>What the handshake agreed upon; null in the clear.</summary>
    public TlsParameters? Tls => _isSecure ? _tls!.Parameters : null;

    /// <summary>There is TLS and this connection does not use it yet.</summary>
    private bool MaySecure => (_listenerTls is not null || _outgoingTls is not null) && _tls is null;

    /// <summary>A handshake step has ended on its worker.</summary>
    internal void Stepped()
    {
        _isStepping = false;
        if (_phase == Phase.Closed)
        {
            _tls!.End();
            ReturnSlab();
            ReleaseWhenQuiet();
            return;
        }

        _start = _end - _tls!.InputBytes;
        ReadOnlyMemory<byte> output = _tls.TakeOutput();
        if (!output.IsEmpty)
        {
            _outgoing ??= _loop.Outgoings.Rent();
            _outgoing.Add(0, output);
        }

        if (Flush())
        {
            GoOnSecuring();
        }
    }

    /// <summary>SslStream has encrypted and the socket taken a record, or the peer is gone.</summary>
    internal void RecordLeft(bool hasLeft)
    {
        _isSending = false;
        if (_phase == Phase.Closed)
        {
            ReturnGather();
            ReturnOutgoing();
            EndSession();
            ReleaseWhenQuiet();
        }
        else if (!hasLeft)
        {
            Over(ConnectionEnd.Broken);
        }
        else
        {
            _outgoing!.Advance(_tls!.RecordBytes);
            RenewDeadline(); // a slow reader that reads is not silent
            ServeAfterSend();
        }
    }

    /// <summary>Records for SslStream; no octets ask whether there is input. False when it will be told later.</summary>
    internal bool TryReceiveRecords(Span<byte> room, out int octets)
    {
        octets = 0;
        TlsLayer tls = _tls!;
        if (tls.EmptyRecords >= EventLoopOptions.EmptyRecordsPerTurn)
        {
            MakeWay(tls);
            return false;
        }

        while (room.IsEmpty || (octets = ReceiveInto(room)) == -Native.WouldBlock)
        {
            if (_isReceiving || !SocketBecomesReadable())
            {
                octets = 0;
                return false;
            }

            if (room.IsEmpty)
            {
                return true;
            }
        }

        octets = Math.Max(octets, 0); // an error is the end of the input as well
        tls.EmptyRecords += octets;
        return true;
    }

    /// <summary>Sends what the socket takes and leaves the rest, on its way asynchronously, in the argument.</summary>
    /// <returns>0, or an errno.</returns>
    internal int SendRecords(ref ReadOnlyMemory<byte> records)
    {
        while (!records.IsEmpty)
        {
            int sent = SendAtOnce(records.Span);
            if (sent >= 0)
            {
                records = records[sent..];
                continue;
            }

            if (sent != -Native.WouldBlock)
            {
                return -sent;
            }

            LoopArgs args = _outgoing!.Args;
            args.Owner = this;
            args.SetBuffer(MemoryMarshal.AsMemory(records));
            if (_socket!.SendAsync(args))
            {
                BoundSend(args.Count);
                return 0;
            }

            records = records[args.BytesTransferred..]; // an error comes again with the next try, as an errno
        }

        return 0;
    }

    /// <summary>For close_notify, behind everything else: a socket that has no room for it now goes without.</summary>
    internal void SendLastRecord(ReadOnlySpan<byte> record)
    {
        if (_socket is not null)
        {
            _ = SendAtOnce(record);
        }
    }

    /// <summary>
    /// Everything said so far is with the kernel; the next octets are the handshake's. What the peer sent ahead in the
    /// clear is thrown away unread: somebody on the way may have put it there (CVE-2011-0411). Where TLS comes first
    /// there is no such thing: what follows the words of a go-between is the handshake already.
    /// </summary>
    private void Secure()
    {
        if (_loop.IsStopping)
        {
            Over(ConnectionEnd.Stopping);
            return;
        }

        _phase = Phase.Securing;
        if (_listenerTls is not { IsImplicit: true })
        {
            ReturnSlab();
        }

        if (_outgoingTls is not null)
        {
            _tls = new TlsLayer(this, _outgoingTls);
            _loop.Arm(_timer, _outgoingTls.Client.HandshakeDeadline);
            BeginStep();
            return;
        }

        _tls = new TlsLayer(this, _listenerTls!.Server);
        _loop.Arm(_timer, _listenerTls.Server.HandshakeDeadline);
        if (_start == _end || !Step())
        {
            GoOnSecuring();
        }
    }

    /// <summary>TLS comes first: a peer over the cap is not even told, for it could not read it.</summary>
    private void SecureIfThereIsRoom(TlsServer server)
    {
        if (server.IsAvailable)
        {
            Secure();
        }
        else
        {
            server.Refuse();
            Over(ConnectionEnd.TlsFailed);
        }
    }

    private void GoOnSecuring()
    {
        switch (_tls!.Outcome)
        {
            case Handshake.Complete:
                BeginService();
                return;
            case Handshake.Failed:
                End = ConnectionEnd.TlsFailed;
                Finish();
                return;
        }

        ReturnEmptySlab();
        while (_isReadable || SocketBecomesReadable())
        {
            MakeRoom();
            int received = ReceiveInto(_slab.AsSpan(_end));
            if (received > 0)
            {
                _end += received;
                _isReadable = false;
                if (Step())
                {
                    return;
                }

                continue;
            }

            if (received != -Native.WouldBlock)
            {
                Over(ConnectionEnd.TlsFailed);
                return;
            }

            _isReadable = false;
            ReturnEmptySlab();
        }
    }

    /// <summary>False when there are too few octets for a step.</summary>
    private bool Step()
    {
        switch (_tls!.Judge(_slab.AsSpan(_start, _end - _start)))
        {
            case Handshake.NeedsInput:
                return false;
            case Handshake.Failed:
                End = ConnectionEnd.TlsFailed;
                Finish();
                return true;
        }

        BeginStep();
        return true;
    }

    private void BeginStep()
    {
        _isStepping = true;
        _tls!.BeginStep(_slab.AsMemory(_start, _end - _start));
    }

    private void BeginService()
    {
        _phase = Phase.Open;
        _isSecure = true;
        _isReadable = false;
        _tls!.BeginService(_slab.AsSpan(_start, _end - _start));
        ReturnSlab();
        RenewDeadline();
        Enter(Entry.Secured);
        if (_isAborted)
        {
            Over();
            return;
        }

        _turn = Turn.Continue;
        _isCallDue = true;
        Serve();
    }

    /// <summary>As Flush: the output of the turn, record by record. Long output makes way for others in between.</summary>
    private bool FlushRecords()
    {
        TlsLayer tls = _tls!;
        for (int left = EventLoopOptions.EncryptedPerTurn; _outgoing is { IsEmpty: false } outgoing; left -= tls.RecordBytes)
        {
            if (left <= 0)
            {
                _isSending = true;
                _loop.Post(tls.SendsOn ??= new SendsOn(this));
                return false;
            }

            if (outgoing.FillsRecord)
            {
                ReturnGather();
            }
            else
            {
                tls.Gather ??= _loop.Slabs.Rent();
            }

            ReadOnlyMemory<byte> octets = outgoing.Record(tls.Gather);
            tls.RecordBytes = octets.Length;
            if (!TrySend(octets))
            {
                return false;
            }

            outgoing.Advance(tls.RecordBytes);
        }

        ReturnGather();
        ReturnOutgoing();
        return true;
    }

    /// <summary>False when the send is in flight or the connection is over.</summary>
    private bool TrySend(ReadOnlyMemory<byte> octets)
    {
        try
        {
            if (_tls!.Send(octets))
            {
                return true;
            }

            _isSending = true;
        }
        catch (IOException)
        {
            Over(ConnectionEnd.Broken); // the peer is gone
        }

        return false;
    }

    private void SendOn()
    {
        _tls!.RecordBytes = 0;
        RecordLeft(hasLeft: true);
    }

    private void ReturnGather()
    {
        if (_tls?.Gather is { } gather)
        {
            _loop.Slabs.Return(gather);
            _tls.Gather = null;
        }
    }

    private unsafe int SendAtOnce(ReadOnlySpan<byte> octets)
    {
        fixed (byte* start = octets)
        {
            while (true)
            {
                nint sent = Native.Send(_descriptor, start, (nuint)octets.Length, Native.DontWait | Native.NoSignal);
                if (sent >= 0)
                {
                    return (int)sent;
                }

                int error = Marshal.GetLastPInvokeError();
                if (error != Native.Interrupted)
                {
                    return -error;
                }
            }
        }
    }

    /// <summary>The rest of an output that made way for others.</summary>
    private sealed class SendsOn(Connection connection) : ILoopWork
    {
        public void Run() => connection.SendOn();
    }
}
