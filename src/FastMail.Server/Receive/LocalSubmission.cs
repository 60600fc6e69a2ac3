using System.IO.Pipelines;
using System.Text;
using FastMail.Net;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Server.Maildrops;
using FastMail.Server.Queue;
using FastMail.Server.Relay.Routing;
using FastMail.Storage;

namespace FastMail.Server.Receive;

/// <summary>A message that a program of this machine hands over. Immutable.</summary>
/// <param name="ReversePath">UTF-8, empty for the null reverse-path.</param>
/// <param name="Recipients">Forward-paths; a bare local-part is one of this host.</param>
/// <param name="Notify">NOTIFY for all of them, as <see cref="DsnNotify"/>.</param>
/// <param name="Return">RET.</param>
/// <param name="EnvelopeId">ENVID in xtext; empty when it was not given.</param>
internal sealed record LocalEnvelope(
    string ReversePath, IReadOnlyList<string> Recipients, DsnNotify Notify = DsnNotify.Unsaid,
    DsnReturn Return = DsnReturn.Unsaid, string EnvelopeId = "");

/// <summary>
/// Takes mail of programs of this machine, which whoever may open the data directory is trusted with, into the log:
/// maildrops here and recipients elsewhere in one record. Belongs to whoever opened the log; any thread that may wait.
/// </summary>
internal sealed class LocalSubmission
{
    private const int MostEnvelopeId = 100; // octets (RFC 3461 4.4)

    private readonly MailLog _log;
    private readonly Func<AccountDirectory> _accounts;
    private readonly RouteTable _routes;
    private readonly IQueueControl _queue;
    private readonly Intake _intake;
    private readonly TimeProvider _clock;

    public LocalSubmission(
        MailLog log, Func<AccountDirectory> accounts, RouteTable routes, IQueueControl queue, Intake intake, TimeProvider clock,
        string hostname, long mostOctets)
    {
        _log = log;
        _accounts = accounts;
        _routes = routes;
        _queue = queue;
        _intake = intake;
        _clock = clock;
        Hostname = hostname;
        MostOctets = mostOctets;
    }

    /// <summary>The domain of bare local-parts.</summary>
    public string Hostname { get; }

    /// <summary>A longer message is refused.</summary>
    public long MostOctets { get; }

    /// <summary>Takes the message for all of its recipients or for none.</summary>
    /// <param name="envelope">From whom and for whom.</param>
    /// <param name="content">With any kind of line ends.</param>
    /// <param name="token">Ends the reading; nothing has been taken then.</param>
    /// <returns>The transaction id, once it is durable.</returns>
    /// <exception cref="SubmissionException">It is refused; the message says why.</exception>
    public async Task<string> TakeAsync(LocalEnvelope envelope, PipeReader content, CancellationToken token)
    {
        PendingMessage message = _log.RentMessage();
        bool isAppended = false;
        try
        {
            string id = WriteEnvelope(message, envelope, out bool isRelayed);
            await WriteContentAsync(message, content, token);
            var appended = new Appended();
            message.Owner = appended;
            isAppended = true;
            _log.Append(message);
            await appended.Ended;
            if (message.Outcome != AppendOutcome.Durable)
            {
                throw new SubmissionException(
                    message.Outcome == AppendOutcome.NoSpace ? "the disk is full" : "the mail log has failed", isTemporary: true);
            }

            if (isRelayed)
            {
                await _queue.EnterAsync(message.Seq, CancellationToken.None); // durable by now: it must be sent
            }

            return id;
        }
        finally
        {
            if (!isAppended || message.Outcome != AppendOutcome.Pending)
            {
                _log.Return(message);
            }
        }
    }

    private string WriteEnvelope(PendingMessage message, LocalEnvelope envelope, out bool isRelayed)
    {
        byte[] reversePath = Encoding.UTF8.GetBytes(Qualify(envelope.ReversePath));
        if (reversePath.Length > 0 && !Protocol.Mailbox.IsValid(reversePath))
        {
            throw new SubmissionException($"<{envelope.ReversePath}> is not an address");
        }

        message.SetReversePath(reversePath);
        if (envelope.EnvelopeId.Length > 0)
        {
            if (envelope.EnvelopeId.Length > MostEnvelopeId || !envelope.EnvelopeId.All(c => c is > ' ' and <= '~'))
            {
                throw new SubmissionException("the envelope id is no xtext of at most 100 characters"); // it goes into commands
            }

            message.AddMeta(MetaType.EnvelopeId, Encoding.ASCII.GetBytes(envelope.EnvelopeId));
        }

        if (envelope.Return != DsnReturn.Unsaid)
        {
            message.AddMeta(MetaType.Return, [(byte)(envelope.Return == DsnReturn.Full ? 1 : 2)]);
        }

        AddRecipients(message, envelope, out isRelayed);
        Span<byte> id = stackalloc byte[32];
        id = id[..Intake.WriteId(_intake.NextTransactionId(), id)];
        message.AddMeta(MetaType.TransactionId, id);
        message.AddMeta(MetaType.ClientAddress, "local"u8);
        Span<byte> trace = stackalloc byte[TraceFields.MaxBytes];
        byte[] only = envelope.Recipients.Count == 1 ? Encoding.UTF8.GetBytes(Qualify(envelope.Recipients[0])) : [];
        int length = TraceFields.WriteOwn(
            trace, Encoding.ASCII.GetBytes(Hostname), id, only, _clock.GetUtcNow(), out int returnPathBytes, reversePath);
        message.SetTrace(trace[..length], returnPathBytes);
        return Encoding.ASCII.GetString(id);
    }

    private void AddRecipients(PendingMessage message, LocalEnvelope envelope, out bool isRelayed)
    {
        isRelayed = false;
        List<Account> mailboxes = [];
        var relayed = new HashSet<string>(StringComparer.Ordinal);
        AccountDirectory accounts = _accounts();
        foreach (string text in envelope.Recipients)
        {
            byte[] path = Encoding.UTF8.GetBytes(Qualify(text));
            if (!Protocol.Mailbox.IsValid(path))
            {
                throw new SubmissionException($"<{text}> is not an address");
            }

            switch (accounts.Resolve(path, [], mailboxes))
            {
                case Residence.Mailbox:
                    mailboxes.ForEach(mailbox => AddLocal(message, mailbox, path, envelope.Notify));
                    bool isTold = envelope.ReversePath.Length > 0 && (envelope.Notify & DsnNotify.Success) != 0;
                    if (isTold && relayed.Add(AddressKey.Of(path) ?? text))
                    {
                        isRelayed = true;
                        message.AddRelayRecipient(path);
                        AddNotify(message, envelope.Notify);
                        SenderWishes.AddStored(message);
                    }

                    break;
                case Residence.UnknownHere:
                    throw new SubmissionException($"<{text}>: there is no such address here") { IsUnknownUser = true };
                case Residence.TooMany:
                    throw new SubmissionException(
                        $"<{text}>: the alias reaches more than {AliasExpansion.MostMailboxes} mailboxes");
                default:
                    if (_routes.Refuses(path))
                    {
                        throw new SubmissionException($"<{text}>: mail there is refused by the route table");
                    }

                    isRelayed = true;
                    if (relayed.Add(AddressKey.Of(path) ?? text))
                    {
                        message.AddRelayRecipient(path);
                        AddNotify(message, envelope.Notify);
                    }

                    break;
            }
        }
    }

    private static void AddLocal(PendingMessage message, Account mailbox, byte[] path, DsnNotify notify)
    {
        if (message.TryAddLocalRecipient(mailbox.MailboxId, path)) // one named twice gets it once
        {
            AddNotify(message, notify);
        }
    }

    private static void AddNotify(PendingMessage message, DsnNotify notify)
    {
        if (notify != DsnNotify.Unsaid)
        {
            message.AddMeta(MetaType.Notify, [(byte)notify]);
        }
    }

    private async Task WriteContentAsync(PendingMessage message, PipeReader content, CancellationToken token)
    {
        var writer = new WireWriter(message);
        long octets = 0;
        for (bool isOver = false; !isOver;)
        {
            ReadResult read = await content.ReadAsync(token);
            foreach (ReadOnlyMemory<byte> part in read.Buffer)
            {
                writer.Write(part.Span);
            }

            octets += read.Buffer.Length;
            isOver = read.IsCompleted;
            content.AdvanceTo(read.Buffer.End);
            if (octets > MostOctets)
            {
                throw new SubmissionException($"the message is longer than limits.message_size allows, {MostOctets} octets");
            }

            var drained = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            if (message.MustWait(drained.SetResult))
            {
                await drained.Task; // a long body goes to its file no faster than the disk takes it
            }
        }

        BodyFacts facts = writer.End();
        if (writer.HasNul)
        {
            throw new SubmissionException("there is a NUL in the message, which mail cannot hold");
        }

        message.Seal(facts);
    }

    private string Qualify(string path) =>
        path.Length == 0 || path.Contains('@', StringComparison.Ordinal) ? path : $"{path}@{Hostname}";

    /// <summary>Waits for one append. Posted to the loop, or run by the appender, when it is durable.</summary>
    private sealed class Appended : ILoopWork
    {
        private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Ended => _ended.Task;

        public void Run() => _ended.SetResult();
    }
}

/// <summary>A message was not taken; the text is for whoever handed it over.</summary>
internal sealed class SubmissionException : Exception
{
    public SubmissionException(string message, bool isTemporary = false)
        : base(message) => IsTemporary = isTemporary;

    /// <summary>The same message may be taken later.</summary>
    public bool IsTemporary { get; }

    /// <summary>There is no such recipient here.</summary>
    public bool IsUnknownUser { get; init; }
}
