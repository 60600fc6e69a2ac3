using System.Buffers;
using System.Runtime.InteropServices;

namespace FastMail.Tests.Net;

/// <summary>Random octets outside the managed heap, as a mapped log is; owned by one test.</summary>
internal sealed unsafe class NativeOctets : MemoryManager<byte>, IDisposable
{
    private readonly byte* _start;
    private readonly int _length;

    public NativeOctets(int length, int seed)
    {
        _length = length;
        _start = (byte*)NativeMemory.Alloc((nuint)length);
        new Random(seed).NextBytes(GetSpan());
    }

    public override Span<byte> GetSpan() => new(_start, _length);

    public override MemoryHandle Pin(int elementIndex = 0) => new(_start + elementIndex);

    public override void Unpin()
    {
        // Native memory does not move.
    }

    public void Dispose() => NativeMemory.Free(_start);

    protected override void Dispose(bool disposing) => Dispose();
}
