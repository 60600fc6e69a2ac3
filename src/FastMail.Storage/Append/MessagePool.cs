namespace FastMail.Storage;

/// <summary>
/// Idle messages, so that a transaction allocates nothing. Owned by the <see cref="MailLog"/>; any thread.
/// </summary>
internal sealed class MessagePool(MailLogOptions options, ChunkPool chunks, BodyWriter bodies)
{
    private readonly PendingMessage[] _kept = new PendingMessage[options.PooledMessages];
    private readonly Lock _gate = new();
    private int _count;

    public PendingMessage Rent()
    {
        lock (_gate)
        {
            if (_count > 0)
            {
                return _kept[--_count];
            }
        }

        return new PendingMessage(chunks, bodies, options.InlineBytes);
    }

    public void Return(PendingMessage message)
    {
        message.Reset();
        lock (_gate)
        {
            if (_count < _kept.Length)
            {
                _kept[_count++] = message;
            }
        }
    }
}
