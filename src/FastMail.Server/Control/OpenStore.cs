using FastMail.Storage;

namespace FastMail.Server.Control;

/// <summary>
/// An open mail log as the administrative verbs see it: the running server's, or one that a verb has opened itself.
/// Belongs to whoever opened the log; any thread.
/// </summary>
internal sealed class OpenStore
{
    private readonly MailLog _log;

    public OpenStore(MailLog log) => _log = log;

    public ServerStatus Status()
    {
        LogStatistics statistics = _log.Statistics;
        return new ServerStatus(
            Environment.ProcessId,
            statistics.DurableLsn,
            statistics.Records,
            statistics.Groups,
            statistics.Bytes,
            statistics.Segments,
            _log.PendingBytes,
            _log.IsSpaceLow,
            _log.HasFailed);
    }

    public LogHold Hold() => _log.Hold();
}
