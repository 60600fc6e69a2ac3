namespace FastMail.LoadTest.Smtp;

/// <summary>
/// When each message was to leave, by its number. Written by the thread that sends, read by the one that receives: a
/// message has been noted before it can arrive.
/// </summary>
internal sealed class SendTimes(long firstSequence)
{
    private const int BlockMessages = 1 << 16;
    private const int MostBlocks = 1 << 14; // a thousand million messages

    private readonly long[]?[] _blocks = new long[MostBlocks][];

    /// <param name="sequence">Number of the message.</param>
    /// <param name="ticks">Of the stopwatch.</param>
    internal void Note(long sequence, long ticks)
    {
        long index = sequence - firstSequence;
        ref long[]? block = ref _blocks[index / BlockMessages];
        block ??= new long[BlockMessages];
        Volatile.Write(ref block[index % BlockMessages], ticks);
    }

    /// <summary>0 for a message that was never noted.</summary>
    internal long Of(long sequence)
    {
        long index = sequence - firstSequence;
        return index < 0 || index / BlockMessages >= MostBlocks || _blocks[index / BlockMessages] is not { } block
            ? 0
            : Volatile.Read(ref block[index % BlockMessages]);
    }
}
