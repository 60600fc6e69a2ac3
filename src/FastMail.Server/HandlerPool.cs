using FastMail.Net;

namespace FastMail.Server;

/// <summary>A handler that may still be waited for when its connection is over.</summary>
internal interface IPooledHandler : IConnectionHandler
{
    /// <summary>Work is out whose end will still be posted to this object; it must not serve anybody else before.</summary>
    bool IsBusy { get; }
}

/// <summary>
/// The idle handlers of one kind of listener. Loop thread only.
/// </summary>
/// <typeparam name="T">The handler of one protocol.</typeparam>
internal abstract class HandlerPool<T> : IHandlerFactory
    where T : class, IPooledHandler
{
    private readonly Stack<T> _idle = new();

    public abstract ReadOnlyMemory<byte> Refusal { get; }

    public abstract ReadOnlyMemory<byte> ClientRefusal { get; }

    public IConnectionHandler Rent() => _idle.TryPop(out T? handler) ? handler : Make();

    /// <summary>Called by the loop when the connection is over, and by a busy handler when its work has ended.</summary>
    public void Return(IConnectionHandler handler)
    {
        var ours = (T)handler;
        if (!ours.IsBusy)
        {
            _idle.Push(ours);
        }
    }

    protected abstract T Make();
}
