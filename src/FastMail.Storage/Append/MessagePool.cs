namespace FastMail.Storage;

/// <summary>
/// Idle messages, so that a transaction allocates nothing. Owned by the <see cref="MailLog"/>; any thread.
/// </summary>
internal sealed class MessagePool(MailLogOptions options)
{
    private readonly ChunkPool _chunks = new((int)(options.PooledContentBytes / ChunkPool.ChunkBytes));
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

        return new PendingMessage(_chunks);
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
