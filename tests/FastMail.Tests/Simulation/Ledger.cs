using System.Globalization;
using System.Text;

namespace FastMail.Tests.Simulation;

/// <summary>The server broke its word; the text says which.</summary>
internal sealed class BrokenPromiseException(string message) : Exception(message);

/// <summary>What the server has said of a message.</summary>
internal enum Promise
{
    /// <summary>Refused, abandoned, or found missing after a crash: it must never be seen.</summary>
    Absent,

    /// <summary>No positive answer: it is there whole or not at all, and the next start settles which.</summary>
    InDoubt,

    /// <summary>Answered 250, or seen after a crash: it is there until a QUIT answered +OK removed it.</summary>
    Kept,
}

/// <summary>A message as the client knows it, and its copy in each maildrop. Owned by the ledger.</summary>
internal sealed class SentMessage(int key, string content, IReadOnlyList<string> recipients)
{
    public int Key => key;

    /// <summary>Without dot-stuffing; Latin-1.</summary>
    public string Content => content;

    public IReadOnlyList<string> Recipients => recipients;

    public Promise Promise { get; set; } = Promise.Absent;

    /// <summary>A bit of it has rotted: it stays listed, and nobody ever sees its bytes.</summary>
    public bool IsDamaged { get; set; }

    public Dictionary<string, Copy> Copies { get; } =
        recipients.ToDictionary(r => r, _ => new Copy(), StringComparer.Ordinal);

    /// <summary>The same in another ledger.</summary>
    public SentMessage Clone()
    {
        SentMessage clone = new(key, content, recipients) { Promise = Promise, IsDamaged = IsDamaged };
        foreach ((string recipient, Copy copy) in Copies)
        {
            clone.Copies[recipient] = copy with { };
        }

        return clone;
    }

    /// <summary>One recipient's copy.</summary>
    internal sealed record Copy
    {
        public string? UniqueId { get; set; }

        /// <summary>All octets of the first time it was retrieved, trace fields included.</summary>
        public string? Retrieved { get; set; }

        public bool IsRemoved { get; set; }
    }
}

/// <summary>
/// Everything the server ever answered, outside of it, and the judge of what it shows. Owned by one run.
/// </summary>
internal sealed class Ledger
{
    private const string KeyField = "X-Sim: ";

    private readonly Dictionary<int, SentMessage> _messages = [];
    private readonly Dictionary<string, int> _uniqueIds = new(StringComparer.Ordinal);
    private readonly List<(string Address, SentMessage[] Messages)> _removalsInDoubt = [];

    public int Kept => _messages.Values.Count(m => m.Promise == Promise.Kept);

    public int Removed => _messages.Values.Sum(m => m.Copies.Values.Count(c => c.IsRemoved));

    /// <summary>The same ledger once more, for another of the things that can happen next.</summary>
    public Ledger Clone()
    {
        Ledger clone = new();
        foreach ((int key, SentMessage message) in _messages)
        {
            clone._messages.Add(key, message.Clone());
        }

        foreach ((string uniqueId, int key) in _uniqueIds)
        {
            clone._uniqueIds.Add(uniqueId, key);
        }

        clone._removalsInDoubt.AddRange(_removalsInDoubt.Select(
            removal => (removal.Address, removal.Messages.Select(m => clone._messages[m.Key]).ToArray())));
        return clone;
    }

    /// <summary>A message that is about to be sent; the text goes behind the field that identifies it.</summary>
    public SentMessage Write(string text, IReadOnlyList<string> recipients)
    {
        int key = _messages.Count;
        string field = string.Create(CultureInfo.InvariantCulture, $"{KeyField}{key}\r\n");
        SentMessage message = new(key, field + text, recipients);
        _messages.Add(key, message);
        return message;
    }

    /// <summary>A QUIT was answered +OK, or (in doubt) was not.</summary>
    public void Remove(string address, SentMessage[] messages, bool isInDoubt)
    {
        if (isInDoubt)
        {
            _removalsInDoubt.Add((address, messages));
            return;
        }

        foreach (SentMessage message in messages)
        {
            message.Copies[address].IsRemoved = true;
        }
    }

    /// <summary>Judges one message as POP3 showed it, and says which it is.</summary>
    public SentMessage Recognise(string address, in ShownMessage shown)
    {
        string text = Unstuff(shown.Wire);
        Demand(text.Length == shown.Octets, $"{shown.UniqueId} is listed with {shown.Octets} octets, has {text.Length}");
        int at = text.IndexOf(KeyField, StringComparison.Ordinal);
        int end = at < 0 ? -1 : text.IndexOf('\r', at);
        Demand(end > 0, $"{address} {shown.UniqueId}: these are not the bytes of any message: {Start(text)}");
        int key = int.Parse(text.AsSpan(at + KeyField.Length, end - at - KeyField.Length), CultureInfo.InvariantCulture);
        SentMessage message = _messages[key];
        Demand(!message.IsDamaged, $"message {key} is damaged and was shown");
        Demand(message.Copies.TryGetValue(address, out SentMessage.Copy? copy), $"message {key} is not for {address}");
        Demand(text[at..] == message.Content, $"message {key} of {address} has other bytes than were sent");
        Demand(IsTrace(text[..at]), $"message {key} of {address} begins with {Start(text)}");
        Demand(
            copy!.UniqueId is null || copy.UniqueId == shown.UniqueId,
            $"message {key} of {address} was {copy.UniqueId} and is {shown.UniqueId} now");
        Demand(copy.Retrieved is null || copy.Retrieved == text, $"message {key} of {address} has changed its trace");
        Demand(
            _uniqueIds.TryAdd(address + " " + shown.UniqueId, key) || _uniqueIds[address + " " + shown.UniqueId] == key,
            $"{address} {shown.UniqueId} named message {_uniqueIds[address + " " + shown.UniqueId]}, now {key}");
        copy.UniqueId = shown.UniqueId;
        copy.Retrieved = text;
        return message;
    }

    /// <summary>A message that was answered <c>-ERR [SYS/PERM]</c>.</summary>
    public SentMessage RecogniseDamaged(string address, string uniqueId)
    {
        Demand(
            _uniqueIds.TryGetValue(address + " " + uniqueId, out int key) && _messages[key].IsDamaged,
            $"{address} {uniqueId} is said to be damaged and is not");
        return _messages[key];
    }

    /// <summary>What scrubbing has to find: every damaged message that is listed, and no other.</summary>
    public void JudgeScrub(int findings)
    {
        int listed = _messages.Values.Count(m => m.IsDamaged && m.Copies.Values.Any(c => !c.IsRemoved));
        Demand(findings == listed, $"scrubbing found {findings} damages of {listed}");
    }

    /// <summary>Flips a bit of a message that is known to be durable; its key, or null when there is none.</summary>
    public int? TryDamage(LyingDisk disk, Random random)
    {
        SentMessage[] durable = [.. _messages.Values.Where(
            m => m.Promise == Promise.Kept && !m.IsDamaged && m.Copies.Values.All(c => c.UniqueId is not null)
                && m.Copies.Values.Any(c => !c.IsRemoved))]; // a body file goes with its message
        if (durable.Length == 0)
        {
            return null;
        }

        SentMessage message = durable[random.Next(durable.Length)];
        byte[] start = Encoding.ASCII.GetBytes(message.Content[..message.Content.IndexOf('\n', StringComparison.Ordinal)]);
        (int octet, int bit) = (random.Next(start.Length), random.Next(8));
        foreach (LyingContent content in disk.Names.Values)
        {
            // Compaction may have left a copy behind that nobody reads.
            for (int at, from = 0; (at = content.Cache[from..].IndexOf(start)) >= 0; from += at + start.Length)
            {
                content.FlipBit(from + at + octet, bit);
                message.IsDamaged = true;
            }
        }

        if (message.IsDamaged)
        {
            return message.Key;
        }

        throw new BrokenPromiseException($"message {message.Key} is nowhere on the disk");
    }

    /// <summary>
    /// After a start: holds everything all maildrops show against everything that was ever said, and settles what was
    /// in doubt.
    /// </summary>
    public void Judge(IReadOnlyDictionary<string, SentMessage[]> maildrops)
    {
        foreach ((string address, SentMessage[] shown) in maildrops)
        {
            Demand(shown.Distinct().Count() == shown.Length, $"{address} has a message twice");
        }

        foreach (var removals in _removalsInDoubt.GroupBy(r => r.Address, r => r.Messages, StringComparer.Ordinal))
        {
            SettleRemovals(removals.Key, [.. removals], maildrops[removals.Key]);
        }

        _removalsInDoubt.Clear();
        foreach (SentMessage message in _messages.Values)
        {
            Judge(message, maildrops);
        }
    }

    /// <summary>
    /// Several may have named the same message, so one whose messages are partly gone is half done only if no other
    /// took them.
    /// </summary>
    private void SettleRemovals(string address, SentMessage[][] removals, SentMessage[] shown)
    {
        SentMessage[][] done = [.. removals.Where(r => !r.Any(shown.Contains))];
        foreach (SentMessage[] removal in removals)
        {
            SentMessage? half = removal.FirstOrDefault(m => !shown.Contains(m) && !done.Any(r => r.Contains(m)));
            Demand(half is null, $"half a removal in {address}: of {removal.Length} messages {half?.Key} is gone");
        }

        foreach (SentMessage[] removal in done)
        {
            Remove(address, removal, isInDoubt: false);
        }
    }

    private static void Judge(SentMessage message, IReadOnlyDictionary<string, SentMessage[]> maildrops)
    {
        string[] holders = [.. message.Recipients.Where(r => maildrops[r].Contains(message))];
        switch (message.Promise)
        {
            case Promise.Absent:
                Demand(holders.Length == 0, $"message {message.Key} was never accepted, or lost before, and is there");
                break;
            case Promise.InDoubt:
                Demand(
                    holders.Length == 0 || holders.Length == message.Recipients.Count,
                    $"half a message: {message.Key} is in {holders.Length} of {message.Recipients.Count} maildrops");
                message.Promise = holders.Length == 0 ? Promise.Absent : Promise.Kept;
                break;
            default:
                foreach (string recipient in message.Recipients)
                {
                    bool isRemoved = message.Copies[recipient].IsRemoved;
                    Demand(
                        isRemoved != holders.Contains(recipient, StringComparer.Ordinal),
                        $"message {message.Key} of {recipient} was "
                        + (isRemoved ? "removed and is back" : "acknowledged and is lost"));
                }

                break;
        }
    }

    private static void Demand(bool isKept, string otherwise)
    {
        if (!isKept)
        {
            throw new BrokenPromiseException(otherwise);
        }
    }

    /// <summary>Return-Path and one Received field, folded or not, and nothing else.</summary>
    private static bool IsTrace(string text)
    {
        string[] lines = text.Split("\r\n");
        return lines[0].StartsWith("Return-Path: <", StringComparison.Ordinal)
            && lines[1].StartsWith("Received: ", StringComparison.Ordinal)
            && lines[2..^1].All(l => l.StartsWith(' ') || l.StartsWith('\t'))
            && lines[^1].Length == 0;
    }

    /// <summary>The client's half of transparency (RFC 1939 3).</summary>
    private static string Unstuff(string wire)
    {
        Demand(wire.EndsWith("\r\n.\r\n", StringComparison.Ordinal), "a message does not end with CRLF.CRLF");
        return wire[..^3].Replace("\r\n.", "\r\n", StringComparison.Ordinal);
    }

    private static string Start(string text)
    {
        return new StringBuilder(text, 0, Math.Min(80, text.Length), 96).Replace("\r\n", "|").ToString();
    }
}

/// <summary>A message as POP3 shows it: what UIDL, LIST and RETR say. A value.</summary>
internal readonly record struct ShownMessage(string UniqueId, int Octets, string Wire);
