using System.Text.Json;
using FastMail.Server.Control;
using FastMail.Server.Queue;

namespace FastMail.Server.Cli;

/// <summary>The queue for the verbs, whoever has the data directory open. Owned by the verb; one thread.</summary>
internal interface IQueueAccess : IDisposable
{
    /// <summary>The recipients that fit, of older messages first.</summary>
    IEnumerable<QueueEntry> List(QueueSelector selector);

    /// <summary>Null when there is no such message in the queue.</summary>
    QueueMessage? Find(string id);

    QueueStats Count();

    /// <exception cref="NotSupportedException">Not without a running server.</exception>
    QueueActionResult Apply(QueueAction action, QueueSelector selector, QueueActionOptions options);
}

/// <summary>Opens the one or the other.</summary>
internal static class QueueAccess
{
    public static IQueueAccess Open(string directory) =>
        ControlClient.TryConnect(directory) is { } server
            ? new RemoteQueue(server)
            : new LocalQueue(OfflineStore.Open(directory));
}

/// <summary>Through the control channel of a running server.</summary>
internal sealed class RemoteQueue : IQueueAccess
{
    private readonly ControlClient _server;

    public RemoteQueue(ControlClient server) => _server = server;

    public IEnumerable<QueueEntry> List(QueueSelector selector)
    {
        using var reader = new StreamReader(_server.Open("v1/queue?" + selector.ToQuery()));
        while (reader.ReadLine() is { } line)
        {
            yield return JsonSerializer.Deserialize(line, QueueJson.Default.QueueEntry)!;
        }
    }

    public QueueMessage? Find(string id)
    {
        try
        {
            return _server.Get($"v1/queue/message?id={Uri.EscapeDataString(id)}", QueueJson.Default.QueueMessage);
        }
        catch (ControlException e) when (e.IsNotFound)
        {
            return null;
        }
    }

    public QueueStats Count() => _server.Get("v1/queue/stats", QueueJson.Default.QueueStats);

    public QueueActionResult Apply(QueueAction action, QueueSelector selector, QueueActionOptions options)
    {
        string to = options.ForwardPath is { } path ? $"&to={Uri.EscapeDataString(path)}" : "";
        string query = $"all=1{to}{(options.Notifies ? "&notify=1" : "")}{selector.ToQuery()}";
        return _server.Post($"v1/queue/{QueueRoutes.NameOf(action)}?{query}", Stream.Null, QueueJson.Default.QueueActionResult);
    }

    public void Dispose() => _server.Dispose();
}

/// <summary>On a data directory that this process has opened.</summary>
internal sealed class LocalQueue : IQueueAccess
{
    private readonly OfflineStore _offline;

    public LocalQueue(OfflineStore offline) => _offline = offline;

    public IEnumerable<QueueEntry> List(QueueSelector selector) => _offline.Queue.List(selector);

    public QueueMessage? Find(string id) =>
        _offline.Queue.FindAsync(id, CancellationToken.None).GetAwaiter().GetResult();

    public QueueStats Count() => _offline.Queue.CountAsync(CancellationToken.None).GetAwaiter().GetResult();

    public QueueActionResult Apply(QueueAction action, QueueSelector selector, QueueActionOptions options) =>
        _offline.Queue.ApplyAsync(action, selector, options, CancellationToken.None).GetAwaiter().GetResult();

    public void Dispose() => _offline.Dispose();
}
