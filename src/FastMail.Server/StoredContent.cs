using System.Buffers;
using FastMail.Protocol.Notifications;
using FastMail.Storage;

namespace FastMail.Server;

/// <summary>Reads a stored message from end to end, wherever its body is. Stateless; a thread that may wait for the disk.</summary>
internal static class StoredContent
{
    private const int BlockBytes = 256 * 1024;

    /// <summary>
    /// Hands out the message as relay sends it: from behind its Return-Path field to the final dot. A body in a file of its
    /// own is not held against its checksum; whoever sends it does that.
    /// </summary>
    /// <param name="log">Whose message it is.</param>
    /// <param name="message">As it was read: <see cref="ReadStatus.Ok"/> or <see cref="ReadStatus.External"/>.</param>
    /// <param name="sink">Gets it run by run.</param>
    /// <param name="goesOn">Asked before each run; false ends it early.</param>
    /// <returns>Anything but Ok: the sink has not got all.</returns>
    public static ReadStatus CopyTo(MailLog log, in StoredMessage message, WireSink sink, Func<bool>? goesOn = null)
    {
        sink(message.Wire.Span[message.ReturnPathBytes..]);
        if ((message.Flags & MessageFlags.ExternalBody) == 0)
        {
            return ReadStatus.Ok;
        }

        ReadStatus status = log.TryOpenBody(message, out StoredBody? body);
        if (status != ReadStatus.Ok)
        {
            return status;
        }

        byte[] block = ArrayPool<byte>.Shared.Rent(BlockBytes);
        using (body)
        {
            for (long offset = 0; offset < body!.Bytes && goesOn?.Invoke() != false;)
            {
                Span<byte> part = block.AsSpan(0, (int)Math.Min(BlockBytes, body.Bytes - offset));
                status = body.Read(part, offset);
                if (status != ReadStatus.Ok)
                {
                    break;
                }

                sink(part);
                offset += part.Length;
            }
        }

        ArrayPool<byte>.Shared.Return(block);
        return status;
    }
}
