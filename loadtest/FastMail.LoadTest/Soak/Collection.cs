using FastMail.LoadTest.Messages;
using FastMail.LoadTest.Pop3;
using FastMail.LoadTest.Sink;

namespace FastMail.LoadTest.Soak;

/// <summary>
/// What was collected so far, on file. A message that is still there after a session that did not end is the same message
/// by its unique-id, and counts once. Any thread.
/// </summary>
internal sealed class Collection(SinkRecord record) : ICollected
{
    private readonly Dictionary<string, HashSet<string>> _known = new(StringComparer.Ordinal); // unique-ids by maildrop
    private readonly Lock _gate = new();

    internal long Messages { get; private set; }

    internal long Unknown { get; private set; }

    public void Found(string maildrop, string uniqueId, in LoadId id, string hash)
    {
        lock (_gate)
        {
            if (!_known.TryGetValue(maildrop, out HashSet<string>? known))
            {
                known = new HashSet<string>(StringComparer.Ordinal);
                _known.Add(maildrop, known);
            }

            if (known.Add(uniqueId))
            {
                Messages++;
                record.Add(id, hash, [maildrop]);
            }
        }
    }

    public void FoundUnknown(string maildrop, int messageNumber)
    {
        lock (_gate)
        {
            Unknown++;
        }
    }

    public void Emptied(string maildrop)
    {
        lock (_gate)
        {
            _ = _known.Remove(maildrop); // none of them can come again
        }
    }
}
