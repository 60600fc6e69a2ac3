namespace FastMail.Storage;

/// <summary>
/// The body files under inspection: which of them messages still need once all records have been seen, whether those
/// are whole, and which are named by none. Owned by one <see cref="LogInspector.Read"/>.
/// </summary>
/// <param name="storePath">The data directory.</param>
/// <param name="progress">Told the octets of each step while bodies are read.</param>
/// <param name="cancellation">Ends that in the middle of a body.</param>
internal sealed class InspectedBodies(string storePath, Action<int>? progress, CancellationToken cancellation)
{
    private readonly Dictionary<ulong, List<Copy>> _byMailbox = [];
    private readonly List<Named> _named = [];
    private readonly BodyFiles _files = new(ReadOnlyDisk.Instance, storePath, TimeProvider.System);
    private readonly QueueFold<Named> _queue = new();
    private readonly List<Named> _relayed = [];
    private bool _hasLostRecords;

    /// <summary>Takes the findings in the order of the log.</summary>
    public void Add(LogFinding finding)
    {
        if (finding is LogRecord { Header.HasExternalBody: true } message)
        {
            AddMessage(message);
        }
        else if (finding is LogProblem problem)
        {
            _hasLostRecords |= problem.IsDamage && problem.Kind != LogProblemKind.Body;
        }

        Note(finding);
    }

    /// <summary>Takes only what a finding says of the messages taken before.</summary>
    public void Note(LogFinding finding)
    {
        if (finding is LogRecord { Type: RecordType.Expunge } expunge)
        {
            Remove(expunge);
        }

        if (finding is LogRecord record)
        {
            _relayed.Clear();
            _queue.Note(record, _relayed);
            _relayed.ForEach(static n => n.References--);
        }
    }

    /// <summary>What is wrong with the files, after the last record.</summary>
    /// <param name="isComplete">All records there are were seen, so a file that none names is unused.</param>
    public IEnumerable<LogProblem> Check(bool isComplete)
    {
        HashSet<ulong> unused = [.. _files.List()];
        foreach (Named named in _named)
        {
            _ = unused.Remove(named.Body.Id);
            if (named.References > 0 && FaultOf(named) is { } fault)
            {
                yield return new LogProblem(
                    _files.PathOf(named.Body.Id), 0, named.Message.Lsn, LogProblemKind.Body, named.Body.Bytes,
                    $"the body file of message {named.Message.Seq} {fault}");
            }
        }

        foreach (ulong id in unused.Where(_ => isComplete).Order())
        {
            string path = _files.PathOf(id);
            yield return new LogProblem(
                path, 0, 0, LogProblemKind.UnusedBody, new FileInfo(path).Length,
                "no message names this file; "
                + (_hasLostRecords ? "a record that is missing may have" : "the next start of the server removes it"));
        }
    }

    private void AddMessage(LogRecord message)
    {
        if (!BodyReference.TryFind(message.Meta.Span, out BodyReference body))
        {
            return; // told as a fault of the record's content
        }

        List<LogRecipient> recipients = message.ReadRecipients();
        int relayed = recipients.Count(static r => r.MailboxId is null);
        Named named = new(message, body) { References = recipients.Count - relayed + (relayed > 0 ? 1 : 0) };
        _named.Add(named);
        if (relayed > 0)
        {
            _ = _queue.Enter(message.Seq, relayed, named);
        }

        foreach (LogRecipient recipient in recipients)
        {
            if (recipient is { MailboxId: { } mailboxId, Uid: { } uid })
            {
                if (!_byMailbox.TryGetValue(mailboxId, out List<Copy>? copies))
                {
                    _byMailbox.Add(mailboxId, copies = []);
                }

                copies.Add(new Copy(uid, named));
            }
        }
    }

    private void Remove(LogRecord expunge)
    {
        List<UidRange> ranges = [];
        if (expunge.TryReadExpunge(out ulong mailboxId, out _, ranges)
            && _byMailbox.TryGetValue(mailboxId, out List<Copy>? copies))
        {
            foreach (Copy copy in copies.Where(c => ranges.Exists(r => c.Uid - r.First < r.Count)))
            {
                copy.Message.References--;
            }

            _ = copies.RemoveAll(c => ranges.Exists(r => c.Uid - r.First < r.Count));
        }
    }

    private string? FaultOf(Named named)
    {
        string path = _files.PathOf(named.Body.Id);
        ReadStatus status = StoredBody.Open(
            ReadOnlyDisk.Instance, path, named.Body.Bytes, named.Message.Header.BodyCrc, out StoredBody? body);
        if (status != ReadStatus.Ok)
        {
            return status switch
            {
                ReadStatus.NotFound => "is missing",
                ReadStatus.Damaged => $"does not have the {named.Body.Bytes} bytes that were written",
                _ => "cannot be read",
            };
        }

        using (body)
        {
            return body!.Verify(progress, cancellation) switch
            {
                ReadStatus.Ok => null,
                ReadStatus.Damaged => "fails its checksum",
                _ => "cannot be read",
            };
        }
    }

    private sealed class Named(LogRecord message, in BodyReference body)
    {
        public LogRecord Message => message;

        public BodyReference Body { get; } = body;

        public int References { get; set; }
    }

    private readonly record struct Copy(ulong Uid, Named Message);
}
