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

    /// <summary>Errors, the greeting and the tarpit cost this peer time. Set after a reset.</summary>
    public bool HasPauses { get; set; }

    /// <summary>
    /// The session takes no input for so long, from the call that began it; zero when it does not pause. Call
    /// <see cref="EndPause"/> when the time is over, then <see cref="Receive"/>.
    /// </summary>
    public TimeSpan Pause { get; private protected set; }

    /// <summary>The pause is over.</summary>
    /// <param name="hasInput">The peer has sent something meanwhile.</param>
    public virtual void EndPause(bool hasInput) => Pause = TimeSpan.Zero;

    /// <inheritdoc/>
    public abstract int Fail(Span<byte> replies);

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

    /// <summary>
    /// The reply to an error leaves at once and the next command waits: who waits for replies loses the same time as if
    /// they came late, and who does not is held by TCP.
    /// </summary>
    private protected void PauseAfterError(int errors, SessionLimits limits)
    {
        if (HasPauses)
        {
            var pause = errors > limits.PromptErrors ? limits.ErrorPause : TimeSpan.Zero;
            Pause = pause > limits.Tarpit ? pause : limits.Tarpit;
        }
    }

    /// <summary>One reply, one run of content or one command; null means go on.</summary>
    private protected abstract OperationStatus? Step(
        ReadOnlySpan<byte> received, ref ReplyWriter replies, out int taken);
}
