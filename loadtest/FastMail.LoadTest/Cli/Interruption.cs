using System.Runtime.InteropServices;

namespace FastMail.LoadTest.Cli;

/// <summary>
/// While it lives, SIGINT and SIGTERM ask a run to come to its end instead of killing it. Owned by the main thread; the
/// run is asked on another.
/// </summary>
internal sealed class Interruption : IDisposable
{
    private readonly PosixSignalRegistration _interrupt;
    private readonly PosixSignalRegistration _terminate;

    /// <param name="stop">Any number of times, from any thread.</param>
    internal Interruption(Action stop)
    {
        void StopGently(PosixSignalContext signal)
        {
            signal.Cancel = true;
            stop();
        }

        _interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, StopGently);
        _terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, StopGently);
    }

    public void Dispose()
    {
        _interrupt.Dispose();
        _terminate.Dispose();
    }
}
