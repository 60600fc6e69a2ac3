using System.Text;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Ledgers;

/// <summary>What the ledger says became of a message.</summary>
internal enum LedgerState
{
    /// <summary>Left the generator, no reply seen: it may or may not be stored.</summary>
    Sent,

    /// <summary>A 2xx reply was seen: it must be stored.</summary>
    Acked,

    /// <summary>A 4xx or 5xx reply was seen: it must not be stored.</summary>
    Refused,
}

/// <summary>One message of the ledger: its hash, recipients, last state.</summary>
internal sealed record LedgerEntry(LoadId Id, ContentHash Hash, IReadOnlyList<string> Recipients)
{
    internal LedgerState State { get; set; }

    internal IReadOnlyList<string> Recipients { get; set; } = Recipients;
}

/// <summary>A ledger file read back. Built once, then only read; any thread.</summary>
internal sealed class Ledger
{
    private readonly Dictionary<LoadId, LedgerEntry> _entries = [];
    private readonly Dictionary<string, IReadOnlyList<string>> _recipientLists = new(StringComparer.Ordinal);

    internal IReadOnlyDictionary<LoadId, LedgerEntry> Entries => _entries;

    /// <summary>Reads a whole ledger; a last line without its end is a torn one and says nothing.</summary>
    /// <exception cref="InvalidDataException">A line is not of the ledger's format or contradicts another.</exception>
    internal static Ledger Read(string path)
    {
        using FileStream file = WholeLines.Open(path);
        return Read(file, path);
    }

    internal static Ledger Read(Stream stream, string name)
    {
        var ledger = new Ledger();
        foreach ((long number, string line) in WholeLines.Of(stream))
        {
            if (!ledger.TryApply(line, out string wrong))
            {
                throw new InvalidDataException($"{name}:{number}: {wrong}");
            }
        }

        return ledger;
    }

    /// <summary>The number after the largest one that the ledger holds for a seed; 0 for a new seed.</summary>
    internal long NextSequence(ulong seed)
    {
        long next = 0;
        foreach (LoadId id in _entries.Keys)
        {
            next = id.Seed == seed ? Math.Max(next, id.Sequence + 1) : next;
        }

        return next;
    }

    private bool TryApply(string line, out string wrong)
    {
        string[] fields = line.Split(' ', 4);
        if (fields.Length < 4 || !ContentHash.TryParse(fields[1], out ContentHash hash)
            || !LoadId.TryParse(Encoding.UTF8.GetBytes(fields[0]), out LoadId id))
        {
            wrong = "not a ledger line (ID SHA256 sent|without|acked|refused ...)";
            return false;
        }

        wrong = $"'{fields[2]}' of {fields[0]} does not follow from the lines before it";
        bool isKnown = _entries.TryGetValue(id, out LedgerEntry? entry);
        if (fields[2] == "sent")
        {
            return _entries.TryAdd(id, new LedgerEntry(id, hash, RecipientsOf(fields[3])));
        }

        // Refused before any content left: there was nothing to be noted as sent.
        if (!isKnown && fields[2] == "refused")
        {
            _entries.Add(id, new LedgerEntry(id, hash, []) { State = LedgerState.Refused });
            return true;
        }

        if (!isKnown || entry!.State != LedgerState.Sent || entry.Hash != hash)
        {
            return false;
        }

        switch (fields[2])
        {
            case "without":
                entry.Recipients = [.. entry.Recipients.Where(recipient => recipient != fields[3])];
                return true;
            case "acked":
                entry.State = LedgerState.Acked;
                return true;
            case "refused":
                entry.State = LedgerState.Refused;
                return true;
            default:
                return false;
        }
    }

    // A run has few different lists and millions of messages: one copy of each list will do.
    private IReadOnlyList<string> RecipientsOf(string list)
    {
        if (!_recipientLists.TryGetValue(list, out IReadOnlyList<string>? recipients))
        {
            recipients = list.Split(',', StringSplitOptions.RemoveEmptyEntries);
            _recipientLists.Add(list, recipients);
        }

        return recipients;
    }
}
