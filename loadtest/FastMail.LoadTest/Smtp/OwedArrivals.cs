namespace FastMail.LoadTest.Smtp;

/// <summary>
/// Which recipients of which messages still have to get what was sent for them: a bit for each that is owed, one for each
/// that has arrived. The thread that sends writes the first, the one that receives the second; any thread may ask.
/// </summary>
internal sealed class OwedArrivals(MailboxPattern recipients, long firstSequence)
{
    private const int WordBits = 64;
    private const int BlockWords = 1 << 12;
    private const int MostBlocks = 1 << 16;
    private const long MostBits = (long)MostBlocks * BlockWords * WordBits;

    private readonly ulong[]?[] _owed = new ulong[MostBlocks][];
    private readonly ulong[]?[] _arrived = new ulong[MostBlocks][];
    private int _endBlock;

    /// <summary>Somebody who is owed a message has not got it.</summary>
    internal bool IsAnyLeft
    {
        get
        {
            for (int block = 0; block < Volatile.Read(ref _endBlock); block++)
            {
                if (IsAnyLeftOf(Volatile.Read(ref _owed[block]), Volatile.Read(ref _arrived[block])))
                {
                    return true;
                }
            }

            return false;
        }
    }

    /// <summary>Content leaves for this recipient of the message, who was accepted.</summary>
    internal void Owe(long sequence, int recipient) => Change(_owed, BitOf(sequence, recipient), isSet: true);

    /// <summary>The message was refused, or its reply never came: who gets it is no longer certain.</summary>
    internal void Forgive(long sequence)
    {
        for (int recipient = 0; recipient < recipients.PerMessage; recipient++)
        {
            Forgive(sequence, recipient);
        }
    }

    /// <summary>The recipient was refused after all.</summary>
    internal void Forgive(long sequence, int recipient) => Change(_owed, BitOf(sequence, recipient), isSet: false);

    /// <summary>A message arrived; once more is no more.</summary>
    internal void Arrived(long sequence, IReadOnlyList<string> mailboxes)
    {
        if (sequence < firstSequence || BitOf(sequence, recipients.PerMessage) >= MostBits)
        {
            return; // no number of this run
        }

        foreach (string mailbox in mailboxes)
        {
            int recipient = recipients.IndexOf(mailbox, sequence);
            if (recipient >= 0)
            {
                Change(_arrived, BitOf(sequence, recipient), isSet: true);
            }
        }
    }

    private long BitOf(long sequence, int recipient) =>
        ((sequence - firstSequence) * recipients.PerMessage) + recipient;

    private void Change(ulong[]?[] blocks, long bit, bool isSet)
    {
        int index = (int)(bit / WordBits / BlockWords);
        ulong[]? block = blocks[index];
        if (block is null)
        {
            block = new ulong[BlockWords];
            Volatile.Write(ref blocks[index], block);
        }

        ref ulong word = ref block[bit / WordBits % BlockWords];
        ulong mask = 1UL << (int)(bit % WordBits);
        Volatile.Write(ref word, isSet ? word | mask : word & ~mask);
        if (blocks == _owed && index >= _endBlock)
        {
            Volatile.Write(ref _endBlock, index + 1);
        }
    }

    private static bool IsAnyLeftOf(ulong[]? owed, ulong[]? arrived)
    {
        for (int i = 0; owed is not null && i < owed.Length; i++)
        {
            if ((Volatile.Read(ref owed[i]) & ~(arrived is null ? 0 : Volatile.Read(ref arrived[i]))) != 0)
            {
                return true;
            }
        }

        return false;
    }
}
