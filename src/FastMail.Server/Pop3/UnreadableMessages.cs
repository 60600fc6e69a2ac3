namespace FastMail.Server.Pop3;

/// <summary>
/// Messages whose delivery over POP3 has ended by a mistake of ours, again and again: then they are answered with an error
/// like damaged ones, so that their owner gets the others. Forgotten by a restart, which may bring a program without the
/// mistake. The same goes for those that the process has died with, again and again. Shared by all POP3 handlers; loop
/// thread only.
/// </summary>
/// <param name="inHand">Knows what the process has died with; null where nobody does.</param>
internal sealed class UnreadableMessages(InHand? inHand = null)
{
    private const int MostFaults = 3;
    private const int MostKept = 10_000; // messages; whoever has more of them has another problem

    private readonly Dictionary<(ulong MailboxId, ulong Uid), int> _faults = [];

    /// <summary>Stands for a mistake of ours in tests: throws. Sees each message that is opened.</summary>
    public Action<ulong>? Fault { get; set; }

    /// <summary>The session whose turn it is works on this message, and on no other any more.</summary>
    public void TakeInHand(ulong mailboxId, ulong uid)
    {
        PutDown();
        _ = inHand?.Take(mailboxId, uid);
    }

    /// <summary>Its turn is over.</summary>
    public void PutDown() => inHand?.PutDown(0);

    /// <summary>A session has ended by a mistake of ours after it had opened this message. True when that was once too often.</summary>
    public bool Note(ulong mailboxId, ulong uid)
    {
        int faults = _faults.GetValueOrDefault((mailboxId, uid)) + 1;
        if (faults > 1 || _faults.Count < MostKept)
        {
            _faults[(mailboxId, uid)] = faults;
        }

        return faults == MostFaults;
    }

    /// <summary>It is not to be tried any more.</summary>
    public bool Contains(ulong mailboxId, ulong uid) =>
        (_faults.Count > 0 && _faults.GetValueOrDefault((mailboxId, uid)) >= MostFaults)
        || inHand?.DeathsWith(mailboxId, uid) >= InHand.MostDeaths;
}
