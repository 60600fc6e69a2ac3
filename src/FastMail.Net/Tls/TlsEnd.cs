namespace FastMail.Net;

/// <summary>
/// What the handshakes of one kind share: the threads that do the public-key work, a deadline, and how many there are.
/// Owned by whoever starts the loop, disposed after it. The counters are for any thread and may lag; the rest is for the
/// loop thread.
/// </summary>
public abstract class TlsEnd : IDisposable
{
    private protected TlsEnd(int workers, TimeSpan handshakeDeadline)
    {
        HandshakeDeadline = handshakeDeadline;
        Workers = new HandshakeWorkers(workers);
    }

    /// <summary>Handshakes under way.</summary>
    public int Handshakes { get; private set; }

    /// <summary>Handshakes that succeeded so far.</summary>
    public long Completed { get; private set; }

    /// <summary>Handshakes that ended in any other way so far, those refused at the cap included.</summary>
    public long Failed { get; private set; }

    internal TimeSpan HandshakeDeadline { get; }

    internal HandshakeWorkers Workers { get; }

    public void Dispose()
    {
        Workers.Dispose();
        GC.SuppressFinalize(this);
    }

    internal void Enter() => Handshakes++;

    internal void Leave(bool isComplete)
    {
        Handshakes--;
        if (isComplete)
        {
            Completed++;
        }
        else
        {
            Failed++;
        }
    }

    internal void Refuse() => Failed++;
}
