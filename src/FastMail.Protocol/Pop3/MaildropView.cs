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

    private ulong[] _marks = []; // grows with the largest maildrop seen and is kept
    private IMaildrop? _maildrop;

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
        Unmark();
    }

    /// <summary>Releases the lock, if there is one. Removes nothing.</summary>
    public void Close()
    {
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
        _marks[index / 64] |= 1UL << (index % 64);
        LiveCount--;
        LiveOctets -= Maildrop.Octets(index);
    }

    /// <summary>RSET: nothing is marked any more.</summary>
    public void Unmark()
    {
        _marks.AsSpan(0, (Count + 63) / 64).Clear();
        LiveCount = Count;
        LiveOctets = 0;
        for (var index = 0; index < Count; index++)
        {
            LiveOctets += Maildrop.Octets(index);
        }
    }
}
