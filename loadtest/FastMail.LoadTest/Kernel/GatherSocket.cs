using System.Runtime.InteropServices;

namespace FastMail.LoadTest.Kernel;

/// <summary>
/// A non-blocking TCP connection with what is still to be written, as vectors into pinned memory the caller leaves
/// alone until they are out, and, for who wants it, a receive buffer; in the clear or over TLS. Owned by the loop thread; reopened after a close.
/// </summary>
internal sealed unsafe class GatherSocket(Epoll epoll, int token, int vectors, int receiveOctets) : IDisposable
{
    private const int MostVectorsPerCall = 1024; // UIO_MAXIOV

    private readonly byte[] _received = GC.AllocateUninitializedArray<byte>(receiveOctets, pinned: true);
    private readonly IoVector[] _vectors = GC.AllocateArray<IoVector>(vectors, pinned: true);
    private int _descriptor = -1;
    private int _filled;
    private int _firstVector;
    private int _endVector;
    private bool _awaitsWritable;
    private TlsLayer? _tls;
    private long _taken; // of what was queued: written, or encrypted

    internal bool IsSending => _firstVector < _endVector;

    /// <summary>A handshake went well.</summary>
    internal bool IsSecured => _tls is { IsSecured: true };

    /// <summary>The handshake took up an earlier connection's session.</summary>
    internal bool IsResumed => _tls is { IsResumed: true };

    /// <summary>Octets queued and octets written since the connection was opened.</summary>
    internal long QueuedOctets { get; private set; }

    internal long WrittenOctets { get; private set; }

    internal ReadOnlySpan<byte> Received => _received.AsSpan(0, _filled);

    internal bool IsReceiveFull => _filled == receiveOctets;

    /// <summary>Starts to connect; the outcome shows as readiness. Returns errno, 0 when it is under way.</summary>
    internal int Open(TargetAddress target)
    {
        _filled = 0;
        _firstVector = 0;
        _endVector = 0;
        _awaitsWritable = false;
        QueuedOctets = 0;
        WrittenOctets = 0;
        _taken = 0;
        _descriptor = Linux.OpenSocket(target.Family);
        if (_descriptor < 0)
        {
            return Marshal.GetLastPInvokeError();
        }

        fixed (byte* address = target.SocketAddress)
        {
            if (Linux.Connect(_descriptor, address, (uint)target.SocketAddress.Length) < 0)
            {
                int errno = Marshal.GetLastPInvokeError();
                if (errno != Linux.InProgressError)
                {
                    Close();
                    return errno;
                }
            }
        }

        epoll.Add(_descriptor, Linux.PollIn, token);
        return 0;
    }

    /// <summary>What goes on now is TLS. The outcome shows in what reading returns and in <see cref="IsSecured"/>.</summary>
    internal void Secure(TlsPlan plan)
    {
        _tls = new TlsLayer(plan);
        Write();
    }

    /// <summary>What a negative result of reading means.</summary>
    internal string ErrorText(int read) => _tls?.Failure ?? Linux.ErrorText(-read);

    public void Dispose() => Close();

    internal void Close()
    {
        if (_tls is { } tls)
        {
            if (_descriptor >= 0 && tls.Outgoing.IsEmpty)
            {
                tls.SayEnd();
                _ = WriteCipher(tls);
            }

            tls.Dispose();
            _tls = null;
        }

        if (_descriptor >= 0)
        {
            _ = Linux.Close(_descriptor); // nothing is owed to a socket that is given up
            _descriptor = -1;
        }

        _firstVector = _endVector;
    }

    /// <summary>Queues a part of <paramref name="pinned"/>; it is read when the socket takes it.</summary>
    internal void Queue(byte[] pinned, int start, int length) =>
        Queue((byte*)Marshal.UnsafeAddrOfPinnedArrayElement(pinned, start), length);

    internal void Queue(byte* memory, int length)
    {
        if (!IsSending)
        {
            _firstVector = 0;
            _endVector = 0;
        }

        _vectors[_endVector++] = new IoVector(memory, length);
        QueuedOctets += length;
    }

    /// <summary>
    /// Writes what the kernel takes and asks to be told when it takes more. A failed write drops the rest: the reason,
    /// often a last reply, is there to be read.
    /// </summary>
    internal void Write()
    {
        int errno = _tls is { } tls ? WriteSecure(tls) : WriteClear();
        if (errno != 0 && errno != Linux.AgainError)
        {
            _firstVector = _endVector;
        }

        AwaitWritable(errno == Linux.AgainError);
    }

    /// <summary>Reads once. Octets read, 0 at the end of the stream, or minus errno.</summary>
    internal int Read()
    {
        int read = Read(_received.AsSpan(_filled));
        _filled += Math.Max(0, read);
        return read;
    }

    /// <summary>The same into a buffer of the caller's.</summary>
    internal int Read(Span<byte> into) => _tls is { } tls ? ReadSecure(tls, into) : ReadClear(into);

    private int ReadClear(Span<byte> into)
    {
        fixed (byte* first = into)
        {
            nint read = Linux.Read(_descriptor, first, into.Length);
            return read < 0 ? -Marshal.GetLastPInvokeError() : (int)read;
        }
    }

    private int ReadSecure(TlsLayer tls, Span<byte> into)
    {
        int plain = tls.IsSecured ? tls.Read(into) : -1;
        if (plain == -1)
        {
            Span<byte> cipher = stackalloc byte[TlsLayer.RecordOctets];
            int read = ReadClear(cipher);
            if (read <= 0)
            {
                return read;
            }

            bool isWell = tls.Feed(cipher[..read]);
            AnswerCipher(tls);
            plain = !isWell ? -2 : tls.IsSecured ? tls.Read(into) : -1;
        }

        return plain >= 0 ? plain : plain == -1 ? -Linux.AgainError : -Linux.ProtocolError;
    }

    /// <summary>
    /// Sends what TLS itself has to say, the handshake's next flight or an alert, and what of a record is left; nothing
    /// that was queued: its owner may still have something to write down first.
    /// </summary>
    private void AnswerCipher(TlsLayer tls)
    {
        int errno = WriteCipher(tls);
        if (errno == 0)
        {
            WrittenOctets = _taken;
        }
        else if (errno == Linux.AgainError)
        {
            AwaitWritable(true);
        }
        else
        {
            _firstVector = _endVector;
        }
    }

    /// <summary>Forgets the first octets of <see cref="Received"/>.</summary>
    internal void Consume(int octets)
    {
        _filled -= octets;
        if (_filled > 0)
        {
            _received.AsSpan(octets, _filled).CopyTo(_received);
        }
    }

    /// <summary>0 when all is out, or errno.</summary>
    private int WriteClear()
    {
        while (IsSending)
        {
            nint written;
            fixed (IoVector* first = &_vectors[_firstVector])
            {
                written = Linux.WriteVectors(
                    _descriptor, first, Math.Min(_endVector - _firstVector, MostVectorsPerCall));
            }

            if (written >= 0)
            {
                Advance(written);
            }
            else if (Marshal.GetLastPInvokeError() is var errno && errno != Linux.InterruptedError)
            {
                return errno;
            }

            WrittenOctets = _taken;
        }

        return 0;
    }

    /// <summary>The same; vectors are gathered into records as long as they may be.</summary>
    private int WriteSecure(TlsLayer tls)
    {
        Span<byte> record = stackalloc byte[TlsLayer.RecordOctets];
        while (true)
        {
            int errno = WriteCipher(tls);
            if (errno != 0)
            {
                return errno;
            }

            WrittenOctets = _taken;
            if (!IsSending || !tls.IsSecured)
            {
                return 0;
            }

            int filled = 0;
            while (IsSending && filled < record.Length)
            {
                IoVector vector = _vectors[_firstVector];
                int part = (int)Math.Min(vector.Length, record.Length - filled);
                new ReadOnlySpan<byte>(vector.Start, part).CopyTo(record[filled..]);
                filled += part;
                Advance(part);
            }

            tls.Write(record[..filled]);
        }
    }

    private int WriteCipher(TlsLayer tls)
    {
        while (!tls.Outgoing.IsEmpty)
        {
            fixed (byte* first = tls.Outgoing)
            {
                nint written = Linux.Write(_descriptor, first, tls.Outgoing.Length);
                if (written >= 0)
                {
                    tls.Sent((int)written);
                }
                else if (Marshal.GetLastPInvokeError() is var errno && errno != Linux.InterruptedError)
                {
                    return errno;
                }
            }
        }

        return 0;
    }

    private void Advance(nint written)
    {
        _taken += written;
        while (written > 0)
        {
            ref IoVector vector = ref _vectors[_firstVector];
            if (written < vector.Length)
            {
                vector.Start += written;
                vector.Length -= written;
                return;
            }

            written -= vector.Length;
            _firstVector++;
        }
    }

    private void AwaitWritable(bool isAwaited)
    {
        if (_awaitsWritable != isAwaited)
        {
            _awaitsWritable = isAwaited;
            epoll.Modify(_descriptor, isAwaited ? Linux.PollIn | Linux.PollOut : Linux.PollIn, token);
        }
    }
}
