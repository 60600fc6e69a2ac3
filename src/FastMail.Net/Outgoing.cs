using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastMail.Net;

/// <summary>
/// The output of one turn: a pinned slab for replies, the pieces to send in their order (reply ranges and bodies that
/// stay where they are), and the arguments of the asynchronous send should the socket not take it all. Rented by one
/// connection from its first reply until the last octet is with the kernel; loop thread only.
/// </summary>
internal sealed class Outgoing
{
    private readonly byte[] _replies;
    private readonly ReadOnlyMemory<byte>[] _pieces = new ReadOnlyMemory<byte>[EventLoopOptions.PiecesPerSend];
    private readonly MemoryHandle[] _pins = new MemoryHandle[EventLoopOptions.PiecesPerSend];
    private int _written;
    private int _first;
    private int _count;
    private bool _endsWithReply;

    public Outgoing(EventLoop loop, int slabBytes)
    {
        _replies = GC.AllocateUninitializedArray<byte>(slabBytes, pinned: true);
        Args = new LoopArgs(loop);
    }

    public LoopArgs Args { get; }

    public bool IsEmpty => _first == _count;

    /// <summary>Whether one more call of the handler fits: a reply and a body.</summary>
    public bool HasRoom => _replies.Length - _written >= EventLoopOptions.LeastReplyBytes
        && _count + 2 <= EventLoopOptions.PiecesPerSend;

    public Span<byte> Room => _replies.AsSpan(_written);

    /// <summary>Appends what a handler wrote into <see cref="Room"/>, and its body.</summary>
    public void Add(int written, ReadOnlyMemory<byte> body)
    {
        if (written > 0)
        {
            if (_endsWithReply)
            {
                _count--; // replies that follow each other lie side by side: one longer piece
                written += _pieces[_count].Length;
                _written -= _pieces[_count].Length;
            }

            _pieces[_count++] = MemoryMarshal.CreateFromPinnedArray(_replies, _written, written);
            _written += written;
            _endsWithReply = true;
        }

        if (!body.IsEmpty)
        {
            _pieces[_count++] = body;
            _endsWithReply = false;
        }
    }

    /// <summary>The part of the first piece that one asynchronous send may cover.</summary>
    public Memory<byte> Head()
    {
        ReadOnlyMemory<byte> piece = _pieces[_first];
        return MemoryMarshal.AsMemory(piece[..Math.Min(piece.Length, EventLoopOptions.AsyncSendBytes)]);
    }

    /// <summary>The first piece is a record's worth by itself, or the only one: it is encrypted from where it lies.</summary>
    public bool FillsRecord => _first + 1 == _count || _pieces[_first].Length >= EventLoopOptions.RecordBytes;

    /// <summary>The octets of the next TLS record; small pieces are copied side by side so that they share one.</summary>
    public ReadOnlyMemory<byte> Record(byte[]? gather)
    {
        if (gather is null)
        {
            return _pieces[_first][..Math.Min(_pieces[_first].Length, EventLoopOptions.RecordBytes)];
        }

        int length = 0;
        for (int i = _first; i < _count && length < gather.Length; i++)
        {
            ReadOnlySpan<byte> piece = _pieces[i].Span;
            piece = piece[..Math.Min(piece.Length, gather.Length - length)];
            piece.CopyTo(gather.AsSpan(length));
            length += piece.Length;
        }

        return gather.AsMemory(0, length);
    }

    /// <summary>Offers everything to the socket in one call that does not block.</summary>
    /// <returns>Octets the kernel took, or the negated errno.</returns>
    [SkipLocalsInit] // a kilobyte of vectors need not be zeroed each turn
    public unsafe long Send(int socket)
    {
        Native.IoVector* vectors = stackalloc Native.IoVector[EventLoopOptions.PiecesPerSend];
        int count = 0;
        try
        {
            for (int i = _first; i < _count; i++, count++)
            {
                _pins[count] = _pieces[i].Pin();
                vectors[count].Start = (byte*)_pins[count].Pointer;
                vectors[count].Length = (nuint)_pieces[i].Length;
            }

            Native.MessageHeader message = new() { Vectors = vectors, VectorCount = (nuint)count };
            nint sent = Native.SendMessage(socket, &message, Native.DontWait | Native.NoSignal);
            return sent >= 0 ? sent : -Marshal.GetLastPInvokeError();
        }
        finally
        {
            for (int i = 0; i < count; i++)
            {
                _pins[i].Dispose();
                _pins[i] = default;
            }
        }
    }

    /// <summary>Forgets the first octets: the kernel has them.</summary>
    public void Advance(long octets)
    {
        while (octets > 0)
        {
            int length = _pieces[_first].Length;
            if (octets < length)
            {
                _pieces[_first] = _pieces[_first][(int)octets..];
                return;
            }

            octets -= length;
            _pieces[_first++] = default;
        }
    }

    public void Clear()
    {
        Array.Clear(_pieces, _first, _count - _first); // drop the reference to a body's owner
        Args.Owner = null;
        if (Args.MemoryBuffer.Length != 0)
        {
            Args.SetBuffer(default);
        }

        _written = 0;
        _first = 0;
        _count = 0;
        _endsWithReply = false;
    }
}

/// <summary>Free outputs, last in, first out. Owned by the loop, touched on the loop thread only.</summary>
internal sealed class OutgoingPool(EventLoop loop, int slabBytes, int kept)
{
    private readonly Stack<Outgoing> _free = new();

    /// <summary>Outputs that are out; 0 when nothing waits to be sent.</summary>
    public int Rented { get; private set; }

    public Outgoing Rent()
    {
        Rented++;
        return _free.TryPop(out Outgoing? outgoing) ? outgoing : new Outgoing(loop, slabBytes);
    }

    public void Return(Outgoing outgoing)
    {
        Rented--;
        outgoing.Clear();
        if (_free.Count < kept)
        {
            _free.Push(outgoing);
        }
        else
        {
            outgoing.Args.Dispose();
        }
    }
}
