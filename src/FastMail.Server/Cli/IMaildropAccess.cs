using System.IO.Pipelines;
using FastMail.Server.Control;
using FastMail.Server.Maildrops;

namespace FastMail.Server.Cli;

/// <summary>Maildrops for the verbs, whoever has the data directory open. Owned by the verb; one thread.</summary>
internal interface IMaildropAccess : IDisposable
{
    MaildropSummary[] List();

    /// <summary>Of accounts that were removed, as far as they hold mail.</summary>
    RemovedMaildrop[] ListRemoved();

    /// <summary>The messages of a maildrop as <see cref="Frames"/>. The caller disposes the stream.</summary>
    Stream Export(MaildropSummary maildrop);

    /// <summary>Adds messages, given as <see cref="Frames"/>; answers when they are durable.</summary>
    ImportResult[] Import(MaildropSummary maildrop, Stream frames, bool isFirst, bool skipsPresent);

    /// <summary>Removes all mail of a removed account for good; null when the mailbox is not one.</summary>
    PurgeResult? Purge(ulong mailboxId);
}

/// <summary>Opens the one or the other.</summary>
internal static class MaildropAccess
{
    public static IMaildropAccess Open(string directory) =>
        ControlClient.TryConnect(directory) is { } server
            ? new RemoteMaildrops(server)
            : new LocalMaildrops(OfflineStore.Open(directory));
}

/// <summary>Through the control channel of a running server.</summary>
internal sealed class RemoteMaildrops : IMaildropAccess
{
    private readonly ControlClient _server;

    public RemoteMaildrops(ControlClient server) => _server = server;

    public MaildropSummary[] List() => _server.Get("v1/maildrops", ControlJson.Default.MaildropSummaryArray);

    public RemovedMaildrop[] ListRemoved() => _server.Get("v1/maildrops/removed", ControlJson.Default.RemovedMaildropArray);

    public Stream Export(MaildropSummary maildrop) => _server.Open($"v1/maildrop/messages?mailbox={maildrop.MailboxId}");

    public ImportResult[] Import(MaildropSummary maildrop, Stream frames, bool isFirst, bool skipsPresent)
    {
        string path = $"v1/maildrop/messages?address={Uri.EscapeDataString(maildrop.Address)}"
            + $"&first={(isFirst ? 1 : 0)}&skip={(skipsPresent ? 1 : 0)}";
        return _server.Post(path, frames, ControlJson.Default.ImportResultArray);
    }

    public PurgeResult? Purge(ulong mailboxId) =>
        _server.Post($"v1/maildrop/purge?mailbox={mailboxId}", Stream.Null, ControlJson.Default.PurgeResult);

    public void Dispose() => _server.Dispose();
}

/// <summary>On a data directory that this process has opened.</summary>
internal sealed class LocalMaildrops : IMaildropAccess
{
    private readonly OfflineStore _offline;
    private readonly CancellationTokenSource _ending = new();
    private Task _exporting = Task.CompletedTask;

    public LocalMaildrops(OfflineStore offline) => _offline = offline;

    public MaildropSummary[] List() => _offline.Store.ListMaildrops();

    public RemovedMaildrop[] ListRemoved() => _offline.Store.ListRemoved();

    public Stream Export(MaildropSummary maildrop)
    {
        var pipe = new Pipe();
        _exporting = Task.Run(async () =>
        {
            Exception? failure = null;
            try
            {
                await _offline.Store.ExportAsync(maildrop.MailboxId, pipe.Writer, _ending.Token);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException)
            {
                failure = e; // the reading end throws it, if it still reads
            }

            await pipe.Writer.CompleteAsync(failure);
        });
        return pipe.Reader.AsStream();
    }

    public ImportResult[] Import(MaildropSummary maildrop, Stream frames, bool isFirst, bool skipsPresent) =>
        _offline.Store.ImportAsync(
            maildrop.MailboxId, maildrop.Address, PipeReader.Create(frames), isFirst, skipsPresent, CancellationToken.None)
            .GetAwaiter().GetResult();

    public PurgeResult? Purge(ulong mailboxId) =>
        _offline.Store.PurgeAsync(mailboxId, CancellationToken.None).GetAwaiter().GetResult();

    public void Dispose()
    {
        _ending.Cancel();
        _exporting.GetAwaiter().GetResult(); // it reads the log that is closed next
        _offline.Dispose();
        _ending.Dispose();
    }
}
