using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Whole writes over the short ones of <see cref="IDiskFile"/>. Stateless; called by whoever owns the file.
/// </summary>
internal static unsafe class DiskWriting
{
    /// <summary>
    /// Writes all vectors at <paramref name="offset"/>, however many calls that takes. The vectors are consumed: a
    /// short write moves the start of the one it ended in. Interruption by a signal is the only error tried again.
    /// </summary>
    public static int WriteAll(this IDiskFile file, Span<IoVector> vectors, long offset)
    {
        while (!vectors.IsEmpty)
        {
            int errno = file.Write(vectors, offset, out long written);
            if (errno == Errno.Interrupted)
            {
                continue;
            }

            if (errno != 0)
            {
                return errno;
            }

            if (written <= 0)
            {
                return Errno.InputOutput; // no progress without an error: never spin on it
            }

            offset += written;
            while (written > 0)
            {
                if (written < vectors[0].Length)
                {
                    vectors[0] = new(vectors[0].Address + (nint)written, vectors[0].Length - (nint)written);
                    break;
                }

                written -= vectors[0].Length;
                vectors = vectors[1..];
            }
        }

        return 0;
    }

    /// <summary>Writes one span; it is pinned for the duration of the call.</summary>
    public static int WriteAll(this IDiskFile file, ReadOnlySpan<byte> bytes, long offset)
    {
        fixed (byte* start = bytes)
        {
            IoVector vector = new((nint)start, bytes.Length);
            return file.WriteAll(new Span<IoVector>(ref vector), offset);
        }
    }

    /// <summary>The address of an array of the pinned heap.</summary>
    public static nint AddressOf(byte[] pinned, int offset)
    {
        return (nint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(pinned)) + offset;
    }
}
