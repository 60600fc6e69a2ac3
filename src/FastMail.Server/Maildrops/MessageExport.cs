using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Text;
using FastMail.Server.Control;
using FastMail.Storage;

namespace FastMail.Server.Maildrops;

/// <summary>Writes one stored message as a frame, however long it is, in bounded memory. Stateless; any thread.</summary>
internal static class MessageExport
{
    private const int BlockBytes = 256 * 1024;

    /// <exception cref="IOException">The disk cannot give the message just now.</exception>
    public static async Task WriteAsync(
        MailLog log, OpenMaildrop maildrop, int index, PipeWriter output, CancellationToken token)
    {
        ReadStatus status = maildrop.TryRead(index, out StoredMessage message);
        StoredBody? body = null;
        if (status == ReadStatus.External)
        {
            status = log.TryOpenBody(message, out body);
        }

        using (body)
        {
            status = body is not null && status == ReadStatus.Ok ? body.Verify(cancellation: token) : status;
            if (status == ReadStatus.Unavailable)
            {
                throw new IOException("the disk cannot give a message just now");
            }

            bool isDamaged = status != ReadStatus.Ok;
            Frames.Write(
                output, HeadOf(maildrop, index, message.Meta.Span, isDamaged), ControlJson.Default.ExportedMessage,
                isDamaged ? 0 : (int)maildrop.Snapshot[index].Octets);
            if (isDamaged)
            {
                return;
            }

            var reader = default(WireReader);
            ReadOnlyMemory<byte> wire = body is null ? message.Wire[..^WireReader.EndBytes] : message.Wire;
            for (; !wire.IsEmpty; wire = wire[Math.Min(BlockBytes, wire.Length)..])
            {
                reader.Copy(wire.Span[..Math.Min(BlockBytes, wire.Length)], output);
                await output.FlushAsync(token);
            }

            if (body is not null)
            {
                await CopyAsync(body, reader, output, token);
            }
        }
    }

    private static async Task CopyAsync(StoredBody body, WireReader reader, PipeWriter output, CancellationToken token)
    {
        byte[] block = ArrayPool<byte>.Shared.Rent(BlockBytes);
        for (long offset = 0, end = body.Bytes - WireReader.EndBytes; offset < end;)
        {
            int length = (int)Math.Min(BlockBytes, end - offset);
            if (body.Read(block.AsSpan(0, length), offset) != ReadStatus.Ok)
            {
                throw new IOException("the disk cannot give a message just now");
            }

            reader.Copy(block.AsSpan(0, length), output);
            await output.FlushAsync(token);
            offset += length;
        }

        ArrayPool<byte>.Shared.Return(block);
    }

    private static ExportedMessage HeadOf(
        OpenMaildrop maildrop, int index, ReadOnlySpan<byte> meta, bool isDamaged)
    {
        string reversePath = "";
        long arrival = maildrop.Snapshot[index].ArrivalSeconds;
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            if (reader.Type == MetaType.ReversePath)
            {
                reversePath = Encoding.UTF8.GetString(reader.Value);
            }
            else if (reader.Type == MetaType.Arrival && reader.Value.Length == sizeof(long))
            {
                arrival = BinaryPrimitives.ReadInt64LittleEndian(reader.Value) / 1_000_000;
            }
        }

        return new ExportedMessage(
            maildrop.Snapshot[index].Uid, UniqueId.Of(maildrop, index), arrival, reversePath, isDamaged);
    }
}
