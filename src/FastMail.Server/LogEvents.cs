using FastMail.Net;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server;

/// <summary>
/// Carries the log's news to those who wait for it. Commits go back to the loop as posts of their owners; a failed
/// write or flush ends the server. Entered by the appender's thread.
/// </summary>
internal sealed class LogEvents : IMailLogObserver
{
    private readonly ILogger _log;
    private EventLoop? _loop;

    public LogEvents(ILogger log) => _log = log;

    /// <summary>Raised once, when the log will acknowledge nothing any more.</summary>
    public event Action? LogFailed;

    /// <summary>Names the loop whose connections append. Before the first append.</summary>
    public void Serve(EventLoop loop) => _loop = loop;

    public void GroupCompleted(PendingAppend first)
    {
        for (PendingAppend? append = first; append is not null;)
        {
            PendingAppend? next = append.Next; // read first: its owner may reuse it as soon as it is posted
            _loop!.Post((ILoopWork)append.Owner!);
            append = next;
        }
    }

    public void Failed(int errno, string what)
    {
        _log.LogCritical("mail log: {What}; nothing more is accepted", what); // the text names the errno
        LogFailed?.Invoke();
    }

    public void SpaceChanged(bool isLow)
    {
        if (isLow)
        {
            _log.LogWarning("mail log: disk space is low, new mail is answered 452 4.3.1");
        }
        else
        {
            _log.LogInformation("mail log: there is disk space again");
        }
    }

    public void Noticed(string what) => _log.LogWarning("mail log: {What}", what);
}
