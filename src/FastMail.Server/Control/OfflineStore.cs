using System.Security.Cryptography;
using FastMail.Net;
using FastMail.Server.Accounts;
using FastMail.Server.Configuration;
using FastMail.Server.Queue;
using FastMail.Server.Receive;
using FastMail.Server.Relay.Routing;
using FastMail.Storage;

namespace FastMail.Server.Control;

/// <summary>
/// A data directory that no server has open, opened by a verb as a server would: locked, recovered, closed in order.
/// Owned by the verb.
/// </summary>
internal sealed class OfflineStore : IMailLogObserver, IDisposable
{
    private readonly MailLog _log;

    private OfflineStore(string directory, AccountStore store)
    {
        string file = Path.Join(directory, Settings.FileName);
        Settings settings = Settings.Load(File.Exists(file) ? file : null, []);
        AccountDirectory accounts = store.ReadDirectory(AddressKeys.Rules(settings));
        var random = new Random(RandomNumberGenerator.GetInt32(int.MaxValue));
        MailLogOptions options = MailServer.OptionsOf(settings) with { ScrubBytesPerSecond = 0 }; // a verb is soon over
        _log = MailLog.Open(
            directory, options, LinuxDisk.Instance, TimeProvider.System, random, this);
        List<RemovedMailbox> removed = store.ReadRemoved();
        Store = new OpenStore(_log, () => accounts, () => removed, MailServer.AllowanceOf(settings));
        var control = new StoredQueueControl(_log, TimeProvider.System);
        Queue = new OpenQueue(_log, control, TimeProvider.System);
        Submission = new LocalSubmission(
            _log, () => accounts, new RouteTable(settings.Get(RouteKeys.Table)), control, new Intake(TimeProvider.System, long.MaxValue), TimeProvider.System,
            settings.Get(ServeKeys.Hostname), settings.Get(LimitKeys.MessageBytes));
    }

    public OpenStore Store { get; }

    public OpenQueue Queue { get; }

    public LocalSubmission Submission { get; }

    /// <summary>Throws what <see cref="MailLog.Open"/> and the accounts throw.</summary>
    /// <exception cref="FileNotFoundException">There is no mail log or there are no accounts.</exception>
    public static OfflineStore Open(string directory)
    {
        foreach (string name in (ReadOnlySpan<string>)["FORMAT", AccountStore.FileName])
        {
            string path = Path.Join(directory, name);
            if (!File.Exists(path))
            {
                throw new FileNotFoundException($"{directory} holds no mail; --data names the data directory", path);
            }
        }

        using AccountStore store = AccountStore.Open(directory);
        return new OfflineStore(Path.GetFullPath(directory), store);
    }

    public void GroupCompleted(PendingAppend first)
    {
        for (PendingAppend? append = first; append is not null;)
        {
            PendingAppend? next = append.Next; // read first: its owner may reuse it as soon as it runs
            ((ILoopWork)append.Owner!).Run();
            append = next;
        }
    }

    public void Failed(int errno, string what) => Console.Error.WriteLine($"fastmail: mail log: {what}");

    public void SpaceChanged(bool isLow)
    {
        // An import that meets the full disk says so itself.
    }

    public void Noticed(string what) => Console.Error.WriteLine($"fastmail: mail log: {what}");

    public void Dispose()
    {
        Store.Dispose();
        _log.Dispose();
    }
}
