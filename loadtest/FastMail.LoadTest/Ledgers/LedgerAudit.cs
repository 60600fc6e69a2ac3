using FastMail.LoadTest.Messages;
using FastMail.LoadTest.Pop3;

namespace FastMail.LoadTest.Ledgers;

/// <summary>
/// Compares what maildrops held with what a ledger says: acknowledged exactly once in each recipient's maildrop, in
/// doubt at most once, refused never, nothing altered, nothing unknown. Only recipients whose maildrop was collected
/// are judged; an audit that judges nobody has shown nothing and is not clean. <see cref="Found"/> and <see cref="FoundUnknown"/> may be called from any thread.
/// </summary>
internal sealed class LedgerAudit : ICollected
{
    private const int KeptFindings = 20;

    private readonly Ledger _ledger;
    private readonly Dictionary<string, string> _maildrops = new(StringComparer.OrdinalIgnoreCase);
    private readonly Dictionary<(LoadId Id, string Maildrop), int> _seen = [];
    private readonly List<string> _findings = [];
    private readonly Lock _gate = new();

    /// <param name="ledger">What should be there.</param>
    /// <param name="maildrops">User names whose maildrops are collected: mailboxes, or local-parts alone.</param>
    internal LedgerAudit(Ledger ledger, IEnumerable<string> maildrops)
    {
        _ledger = ledger;
        foreach (string maildrop in maildrops)
        {
            _maildrops[maildrop] = maildrop;
        }
    }

    /// <summary>Messages collected.</summary>
    internal long Stored { get; private set; }

    /// <summary>Acknowledged, but not there.</summary>
    internal long Lost { get; private set; }

    /// <summary>Copies beyond the first.</summary>
    internal long Doubled { get; private set; }

    /// <summary>Not in the ledger, or in a maildrop it was not sent to.</summary>
    internal long Foreign { get; private set; }

    /// <summary>In the ledger, with other octets.</summary>
    internal long Damaged { get; private set; }

    /// <summary>Refused, but there.</summary>
    internal long RefusedYetStored { get; private set; }

    internal long AckedAndStored { get; private set; }

    internal long InDoubtStored { get; private set; }

    internal long InDoubtAbsent { get; private set; }

    /// <summary>Recipients in the ledger whose maildrop was not collected.</summary>
    internal long NotCollected { get; private set; }

    /// <summary>Whether recipients may be left out whose maildrop was not collected.</summary>
    internal bool IsPartial { get; init; }

    /// <summary>Whether there was anybody, acknowledged, refused or in doubt, whose maildrop was collected.</summary>
    internal bool HasJudged { get; private set; }

    internal bool IsClean => Lost + Doubled + Foreign + Damaged + RefusedYetStored == 0
        && HasJudged && (IsPartial || NotCollected == 0);

    /// <summary>The first findings, a line each.</summary>
    internal IReadOnlyList<string> Findings => _findings;

    /// <param name="maildrop">As the server names it: in any case of letters.</param>
    /// <param name="id">Of the message.</param>
    /// <param name="hash">Of its own part.</param>
    internal void Found(string maildrop, in LoadId id, string hash)
    {
        maildrop = MaildropOf(maildrop) ?? maildrop;
        lock (_gate)
        {
            Stored++;
            if (!_ledger.Entries.TryGetValue(id, out LedgerEntry? entry))
            {
                Foreign++;
                Keep($"foreign: {id} in {maildrop} is not in the ledger");
                return;
            }

            // A refused message has no recipients in the ledger when its envelope was refused.
            if (entry.State != LedgerState.Refused && !entry.Recipients.Any(r => MaildropOf(r) == maildrop))
            {
                Foreign++;
                Keep($"foreign: {id} was not sent to {maildrop}");
                return;
            }

            if (!ContentHash.TryParse(hash, out ContentHash found) || entry.Hash != found)
            {
                Damaged++;
                Keep($"damaged: {id} in {maildrop} has SHA-256 {hash}, sent was {entry.Hash}");
            }

            int times = _seen.GetValueOrDefault((id, maildrop)) + 1;
            _seen[(id, maildrop)] = times;
            if (times > 1)
            {
                Doubled++;
                Keep($"doubled: {id} in {maildrop}, copy {times}");
            }
            else if (entry.State == LedgerState.Refused)
            {
                RefusedYetStored++;
                Keep($"refused yet stored: {id} in {maildrop}");
            }
        }
    }

    void ICollected.Found(string maildrop, string uniqueId, in LoadId id, string hash) => Found(maildrop, id, hash);

    public void FoundUnknown(string maildrop, int messageNumber) =>
        FoundUnknownAs($"message {messageNumber} of {maildrop}");

    /// <summary>The same of what arrived at a sink, such as a notification to a sender whose domain is relayed there.</summary>
    internal void FoundUnknown(string recipient) => FoundUnknownAs($"a message for {recipient}");

    /// <summary>Looks for what was not found; call once, when everything was collected.</summary>
    internal void Finish()
    {
        lock (_gate)
        {
            foreach (LedgerEntry entry in _ledger.Entries.Values)
            {
                if (entry.State != LedgerState.Refused)
                {
                    FinishEntry(entry);
                }
                else
                {
                    HasJudged |= entry.Recipients.Any(recipient => MaildropOf(recipient) is not null);
                }
            }

            if (!HasJudged)
            {
                Keep("nothing judged: the ledger names nobody whose maildrop was collected");
            }
            else if (!IsPartial && NotCollected > 0)
            {
                Keep($"not collected: {NotCollected} recipients have maildrops that are not among the users");
            }
        }
    }

    private void FoundUnknownAs(string which)
    {
        lock (_gate)
        {
            Stored++;
            Foreign++;
            Keep($"foreign: {which} bears no {LoadId.FieldName}");
        }
    }

    private void FinishEntry(LedgerEntry entry)
    {
        foreach (string recipient in entry.Recipients)
        {
            if (MaildropOf(recipient) is not { } maildrop)
            {
                NotCollected++;
                continue;
            }

            HasJudged = true;
            bool isStored = _seen.ContainsKey((entry.Id, maildrop));
            switch (entry.State, isStored)
            {
                case (LedgerState.Acked, true):
                    AckedAndStored++;
                    break;
                case (LedgerState.Acked, false):
                    Lost++;
                    Keep($"lost: {entry.Id} was acknowledged for {recipient}");
                    break;
                case (_, true):
                    InDoubtStored++;
                    break;
                default:
                    InDoubtAbsent++;
                    break;
            }
        }
    }

    private string? MaildropOf(string recipient)
    {
        if (_maildrops.TryGetValue(recipient, out string? maildrop))
        {
            return maildrop;
        }

        int at = recipient.LastIndexOf('@');
        return at > 0 ? _maildrops.GetValueOrDefault(recipient[..at]) : null;
    }

    private void Keep(string finding)
    {
        if (_findings.Count < KeptFindings)
        {
            _findings.Add(finding);
        }
    }
}
