using System.Runtime.InteropServices;

namespace FastMail.LoadTest.Kernel;

/// <summary>
/// A non-blocking TCP connection with what is still to be written, as vectors into pinned memory the caller leaves
/// alone until they are out, and, for who wants it, a receive buffer. Owned by the loop thread; reopened after a close.
/// </summary>
internal sealed unsafe class GatherSocket(Epoll epoll, int token, int vectors, int receiveOctets)
{
    private const int MostVectorsPerCall = 1024; // UIO_MAXIOV

    private readonly byte[] _received = GC.AllocateUninitializedArray<byte>(receiveOctets, pinned: true);
    private readonly IoVector[] _vectors = GC.AllocateArray<IoVector>(vectors, pinned: true);
    private int _descriptor = -1;
    private int _filled;
    private int _firstVector;
    private int _endVector;
    private bool _awaitsWritable;

    internal bool IsSending => _firstVector < _endVector;

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

    internal void Close()
    {
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
        while (IsSending)
        {
            nint written;
            fixed (IoVector* first = &_vectors[_firstVector])
            {
                written = Linux.WriteVectors(
                    _descriptor, first, Math.Min(_endVector - _firstVector, MostVectorsPerCall));
            }

            if (written < 0)
            {
                int errno = Marshal.GetLastPInvokeError();
                if (errno == Linux.InterruptedError)
                {
                    continue;
                }

                if (errno == Linux.AgainError)
                {
                    AwaitWritable(true);
                    return;
                }

                _firstVector = _endVector;
                break;
            }

            Advance(written);
        }

        AwaitWritable(false);
    }

    /// <summary>Reads once. Octets read, 0 at the end of the stream, or minus errno.</summary>
    internal int Read()
    {
        int read = Read(_received.AsSpan(_filled));
        _filled += Math.Max(0, read);
        return read;
    }

    /// <summary>The same into a buffer of the caller's.</summary>
    internal int Read(Span<byte> into)
    {
        fixed (byte* first = into)
        {
            nint read = Linux.Read(_descriptor, first, into.Length);
            return read < 0 ? -Marshal.GetLastPInvokeError() : (int)read;
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

    private void Advance(nint written)
    {
        WrittenOctets += written;
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
