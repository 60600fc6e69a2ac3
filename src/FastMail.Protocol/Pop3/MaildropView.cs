using System.Numerics;

namespace FastMail.Protocol.Pop3;

/// <summary>
/// The maildrop as one session sees it: the snapshot less what is marked deleted, with the totals kept up to date.
/// Owned by its session and entered by that session's thread; holds the maildrop from <see cref="Open"/> to
/// <see cref="Close"/>.
/// </summary>
internal sealed class MaildropView
{
    private const uint LeastWords = 64;

    private readonly List<int> _markedWords = []; // which words of _marks are not zero
    private ulong[] _marks = []; // grows with the largest maildrop seen and is kept; all zero while the view is closed
    private IMaildrop? _maildrop;
    private long _octets; // of all messages of the snapshot

    /// <summary>The maildrop; only while the view is open.</summary>
    public IMaildrop Maildrop => _maildrop ?? throw new InvalidOperationException("No maildrop is open.");

    /// <summary>Messages of the snapshot, deleted ones included.</summary>
    public int Count { get; private set; }

    /// <summary>Messages that are not marked.</summary>
    public int LiveCount { get; private set; }

    /// <summary>Size of the messages that are not marked, octets.</summary>
    public long LiveOctets { get; private set; }

    /// <summary>At least one message is marked.</summary>
    public bool HasMarks => LiveCount != Count;

    public ReadOnlySpan<ulong> Marks => _marks.AsSpan(0, (Count + 63) / 64);

    public void Open(IMaildrop maildrop)
    {
        _maildrop = maildrop;
        Count = maildrop.Count;
        var words = (Count + 63) / 64;
        if (words > _marks.Length)
        {
            _marks = new ulong[Math.Max(LeastWords, BitOperations.RoundUpToPowerOf2((uint)words))];
        }
        _octets = 0;
        for (var index = 0; index < Count; index++)
        {
            _octets += maildrop.Octets(index);
        }
        LiveCount = Count;
        LiveOctets = _octets;
    }

    /// <summary>Releases the lock, if there is one. Removes nothing.</summary>
    public void Close()
    {
        Unmark();
        var maildrop = _maildrop;
        _maildrop = null;
        Count = 0;
        LiveCount = 0;
        LiveOctets = 0;
        maildrop?.Close();
    }

    public bool IsMarked(int index) => (_marks[index / 64] >> (index % 64) & 1) != 0;

    public void Mark(int index)
    {
        ref var word = ref _marks[index / 64];
        if (word == 0)
        {
            _markedWords.Add(index / 64);
        }
        word |= 1UL << (index % 64);
        LiveCount--;
        LiveOctets -= Maildrop.Octets(index);
    }

    /// <summary>
    /// RSET: nothing is marked any more. Costs what was marked and not what the maildrop holds, for a client may say it
    /// thousands of times in one turn.
    /// </summary>
    public void Unmark()
    {
        foreach (var word in _markedWords)
        {
            _marks[word] = 0;
        }
        _markedWords.Clear();
        LiveCount = Count;
        LiveOctets = _octets;
    }
}
