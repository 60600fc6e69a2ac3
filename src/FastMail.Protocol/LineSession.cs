using System.Buffers;

namespace FastMail.Protocol;

/// <summary>
/// The loop that the sessions of all protocols run in: one step after the other until the input is used up, the replies
/// are full or the dialog is over. Owned by one connection and entered by one thread at a time.
/// </summary>
public abstract class LineSession : ISession
{
    private protected LineSession()
    {
    }

    /// <inheritdoc/>
    public abstract bool IsWaiting { get; }

    /// <inheritdoc/>
    public abstract bool IsStartingTls { get; }

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Body { get; private protected set; }

    /// <inheritdoc/>
    public OperationStatus Receive(ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(replies.Length, ISession.MinimumRepliesBytes);
        var writer = new ReplyWriter(replies);
        Body = default;
        consumed = 0;
        OperationStatus? status;
        do
        {
            status = Step(received[consumed..], ref writer, out var taken);
            consumed += taken;
        }
        while (status is null);
        written = writer.Written;
        return status.Value;
    }

    /// <inheritdoc/>
    public abstract void Secured(TlsFacts tls);

    /// <summary>One reply, one run of content or one command; null means go on.</summary>
    private protected abstract OperationStatus? Step(
        ReadOnlySpan<byte> received, ref ReplyWriter replies, out int taken);
}
