using FastMail.Net;

namespace FastMail.Server;

/// <summary>A handler that may still be waited for when its connection is over.</summary>
internal interface IPooledHandler : IConnectionHandler
{
    /// <summary>Work is out whose end will still be posted to this object; it must not serve anybody else before.</summary>
    bool IsBusy { get; }

    /// <summary>Position among those that serve; the pool's.</summary>
    int Place { get; set; }

    /// <summary>Stress began: a peer that is between commands gets no more time than one that comes now.</summary>
    void Hurry();
}

/// <summary>
/// The idle handlers of one kind of listener. Loop thread only.
/// </summary>
/// <typeparam name="T">The handler of one protocol.</typeparam>
internal abstract class HandlerPool<T> : IHandlerFactory
    where T : class, IPooledHandler
{
    private const int NotServing = -1; // its connection is over, its work is not

    private readonly Stack<T> _idle = new();
    private readonly List<T> _serving = [];

    public abstract ReadOnlyMemory<byte> Refusal { get; }

    public abstract ReadOnlyMemory<byte> ClientRefusal { get; }

    public bool DeclaresClients => false;

    public IConnectionHandler Rent()
    {
        T handler = _idle.TryPop(out T? idle) ? idle : Make();
        handler.Place = _serving.Count;
        _serving.Add(handler);
        return handler;
    }

    public void Hurry()
    {
        foreach (T handler in _serving)
        {
            handler.Hurry();
        }
    }

    /// <summary>Called by the loop when the connection is over, and by a busy handler when its work has ended.</summary>
    public void Return(IConnectionHandler handler)
    {
        var ours = (T)handler;
        if (ours.Place != NotServing)
        {
            T last = _serving[^1];
            _serving[ours.Place] = last;
            last.Place = ours.Place;
            _serving.RemoveAt(_serving.Count - 1);
            ours.Place = NotServing;
        }

        if (!ours.IsBusy)
        {
            _idle.Push(ours);
        }
    }

    protected abstract T Make();
}
