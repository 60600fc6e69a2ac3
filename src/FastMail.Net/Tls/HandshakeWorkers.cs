namespace FastMail.Net;

/// <summary>
/// A few threads for the public-key work of handshakes, a millisecond each with RSA-2048, which would hold up every
/// other connection on the loop. Bounded by what the loop hands in: at most one step of each connection waits here.
/// Owned by its <see cref="TlsServer"/>; <see cref="Run"/> from any thread.
/// </summary>
internal sealed class HandshakeWorkers : IDisposable
{
    private readonly Lock _gate = new();
    private readonly Queue<TlsLayer> _steps = new();
    private readonly SemaphoreSlim _waiting = new(0);
    private readonly Thread[] _threads;
    private volatile bool _isEnding;

    public HandshakeWorkers(int threads)
    {
        _threads = new Thread[threads];
        for (int i = 0; i < threads; i++)
        {
            _threads[i] = new Thread(Work) { IsBackground = true, Name = "fastmail handshake" };
            _threads[i].Start();
        }
    }

    /// <summary>Takes one step of the handshake as far as its input goes, then posts the layer to its loop.</summary>
    public void Run(TlsLayer layer)
    {
        lock (_gate)
        {
            _steps.Enqueue(layer);
        }

        _waiting.Release();
    }

    public void Dispose()
    {
        _isEnding = true;
        _waiting.Release(_threads.Length);
        foreach (Thread thread in _threads)
        {
            thread.Join();
        }

        _waiting.Dispose();
    }

    private void Work()
    {
        while (true)
        {
            _waiting.Wait();
            if (_isEnding)
            {
                return;
            }

            TlsLayer layer;
            lock (_gate)
            {
                layer = _steps.Dequeue();
            }

            layer.Step();
        }
    }
}
