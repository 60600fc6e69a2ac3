using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Ledgers;

/// <summary>
/// Appends what happened to each message, one line per change:
/// <c>ID SHA256 sent RECIPIENT[,RECIPIENT...]</c>, later <c>ID SHA256 without RECIPIENT</c> for each who was refused when
/// that was sent, <c>ID SHA256 acked REPLY</c> or <c>ID SHA256 refused REPLY</c>. The loop flushes it before the last octet of a
/// content leaves, so a message the server may hold is always in the file, whoever dies. Owned by the loop thread.
/// </summary>
internal sealed class LedgerWriter : IDisposable
{
    private const int BufferOctets = 256 * 1024;
    private const int HexOctets = MessageGenerator.HashOctets * 2;

    private readonly FileStream _file;
    private byte[] _lines = new byte[BufferOctets];
    private int _filled;

    /// <summary>Opens or creates the file; a torn last line, left by a killed generator, is cut off.</summary>
    /// <exception cref="IOException">The file cannot be opened, read or written.</exception>
    internal LedgerWriter(string path)
    {
        _file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
        try
        {
            WholeLines.CutTornLine(_file);
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    /// <summary>Notes that the message may from now on be in the server's hands.</summary>
    internal void Sent(in LoadId id, ReadOnlySpan<byte> hash) => Begin(id, hash, "sent "u8);

    /// <summary>Adds a recipient to the line that <see cref="Sent"/> began.</summary>
    internal void Recipient(ReadOnlySpan<byte> mailbox, bool isFirst)
    {
        if (!isFirst)
        {
            Append(","u8);
        }

        Append(mailbox);
    }

    /// <summary>Takes back a recipient of <see cref="Sent"/>.</summary>
    internal void Without(in LoadId id, ReadOnlySpan<byte> hash, ReadOnlySpan<byte> mailbox)
    {
        Begin(id, hash, "without "u8);
        Append(mailbox);
        EndLine();
    }

    internal void EndLine() => Append("\n"u8);

    internal void Acked(in LoadId id, ReadOnlySpan<byte> hash, ReadOnlySpan<byte> reply) =>
        AppendOutcome(id, hash, "acked "u8, reply);

    internal void Refused(in LoadId id, ReadOnlySpan<byte> hash, ReadOnlySpan<byte> reply) =>
        AppendOutcome(id, hash, "refused "u8, reply);

    /// <summary>Hands everything appended so far to the kernel; it then survives the death of this process.</summary>
    internal void Flush()
    {
        if (_filled > 0)
        {
            int filled = _filled;
            _filled = 0; // once: closing after a failed write must not fail by the same octets again
            _file.Write(_lines, 0, filled);
        }
    }

    public void Dispose()
    {
        Flush();
        _file.Dispose();
    }

    private void AppendOutcome(
        in LoadId id, ReadOnlySpan<byte> hash, ReadOnlySpan<byte> state, ReadOnlySpan<byte> reply)
    {
        Begin(id, hash, state);
        Append(FirstLineOf(reply));
        EndLine();
    }

    private void Begin(in LoadId id, ReadOnlySpan<byte> hash, ReadOnlySpan<byte> state)
    {
        Span<byte> start = stackalloc byte[LoadId.Length + 1 + HexOctets + 1];
        id.Write(start);
        start[LoadId.Length] = (byte)' ';
        _ = Convert.TryToHexStringLower(hash, start[(LoadId.Length + 1)..], out _);
        start[^1] = (byte)' ';
        Append(start);
        Append(state);
    }

    private void Append(ReadOnlySpan<byte> text)
    {
        if (_lines.Length - _filled < text.Length)
        {
            Array.Resize(ref _lines, Math.Max(_lines.Length * 2, _filled + text.Length));
        }

        text.CopyTo(_lines.AsSpan(_filled));
        _filled += text.Length;
    }

    private static ReadOnlySpan<byte> FirstLineOf(ReadOnlySpan<byte> reply)
    {
        int end = reply.IndexOfAny((byte)'\r', (byte)'\n');
        return end < 0 ? reply : reply[..end];
    }
}
