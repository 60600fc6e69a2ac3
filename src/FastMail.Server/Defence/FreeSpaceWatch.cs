using Microsoft.Extensions.Logging;

namespace FastMail.Server.Defence;

/// <summary>
/// Tells <see cref="Stress"/> how much room the disk has, four times a second, on a pool thread: the call may block where the
/// data lies on a network. Owned by the server.
/// </summary>
internal sealed class FreeSpaceWatch : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250); // service goes on within a second when space returns

    private readonly DriveInfo _drive;
    private readonly Stress _stress;
    private readonly ILogger _log;
    private readonly Timer _timer;
    private int _isMeasuring;
    private bool _hasFailed;

    public FreeSpaceWatch(string directory, Stress stress, ILogger log)
    {
        _drive = new DriveInfo(directory);
        _stress = stress;
        _log = log;
        Measure();
        _timer = new Timer(_ => Measure(), null, Interval, Interval);
    }

    public void Dispose() => _timer.Dispose();

    private void Measure()
    {
        if (Interlocked.Exchange(ref _isMeasuring, 1) != 0)
        {
            return; // the call before has not come back yet
        }

        try
        {
            _stress.FreeBytes = _drive.AvailableFreeSpace;
            _hasFailed = false;
        }
        catch (IOException e) when (!_hasFailed)
        {
            _hasFailed = true;
            _log.LogWarning("the free space of the disk cannot be read: {Reason}", e.Message);
        }
        catch (IOException)
        {
            // Said already; the log finds out about a full disk by itself.
        }
        finally
        {
            Volatile.Write(ref _isMeasuring, 0);
        }
    }
}
