using System.Runtime.InteropServices;
using FastMail.Server.Accounts;
using FastMail.Storage;

namespace FastMail.Server.Receive;

/// <summary>
/// Keeps maildrops within their quota: what is in them, from the log, plus what transactions under way have reserved.
/// Shared by all receivers of the loop; loop thread only. Allocates only while more mailboxes than ever before have
/// reservations.
/// </summary>
/// <remarks>
/// For a moment a message counts twice: from the flush, when the log counts it, to the answer, when its reservation
/// ends. That errs towards a 452 which the next attempt does not meet, and not for what has been reserved: a place, and
/// as many octets.
/// </remarks>
internal sealed class Quotas
{
    private readonly MailLog _log;
    private readonly LiveAccounts _accounts;
    private readonly Allowance _defaults;
    private readonly Dictionary<ulong, Reservation> _reserved = [];

    /// <param name="log">Knows what each maildrop holds.</param>
    /// <param name="accounts">Know the quota of single accounts.</param>
    /// <param name="defaults">For all the others.</param>
    public Quotas(MailLog log, LiveAccounts accounts, Allowance defaults)
    {
        _log = log;
        _accounts = accounts;
        _defaults = defaults;
    }

    /// <summary>Reserves room for one message. Anything but <see cref="QuotaVerdict.Fits"/> has reserved nothing.</summary>
    /// <param name="mailboxId">For whom.</param>
    /// <param name="octets">Its size as far as it is known; 0 when it is not.</param>
    public QuotaVerdict Reserve(ulong mailboxId, long octets)
    {
        QuotaVerdict verdict = Judge(mailboxId, octets, own: default);
        if (verdict is QuotaVerdict.Fits)
        {
            Change(mailboxId, octets, messages: 1);
        }

        return verdict;
    }

    /// <summary>
    /// Whether a message of now known size fits, its own reservation of that many octets not counted. It has its place,
    /// whatever the others do meanwhile, and if it is no larger than was reserved, its room.
    /// </summary>
    public QuotaVerdict Judge(ulong mailboxId, long octets, long reservedOctets) =>
        octets <= reservedOctets ? QuotaVerdict.Fits : Judge(mailboxId, octets, new Reservation(reservedOctets, 1));

    /// <summary>Gives a reservation another size.</summary>
    public void Resize(ulong mailboxId, long from, long to) => Change(mailboxId, to - from, messages: 0);

    /// <summary>Ends a reservation: its message is in the log, or will never be.</summary>
    public void Release(ulong mailboxId, long octets) => Change(mailboxId, -octets, messages: -1);

    private QuotaVerdict Judge(ulong mailboxId, long octets, Reservation own)
    {
        Allowance? given = _accounts.Current.AllowanceOf(mailboxId);
        long mostOctets = given?.Octets ?? _defaults.Octets!.Value;
        long mostMessages = given?.Messages ?? _defaults.Messages!.Value;
        if (mostOctets == 0 && mostMessages == 0)
        {
            return QuotaVerdict.Fits;
        }

        MaildropSize held = _log.Measure(mailboxId);
        Reservation others = _reserved.GetValueOrDefault(mailboxId);
        long heldOctets = held.Octets + others.Octets - own.Octets;
        bool hasPlace = own.Messages > 0 || mostMessages == 0 || held.Messages + others.Messages < mostMessages;
        if (mostOctets > 0 && octets > mostOctets)
        {
            return heldOctets >= mostOctets ? QuotaVerdict.NeverFitsAndFull : QuotaVerdict.NeverFits;
        }

        if (!hasPlace || (mostOctets > 0 && heldOctets >= mostOctets))
        {
            return QuotaVerdict.Full;
        }

        return mostOctets > 0 && heldOctets + octets > mostOctets ? QuotaVerdict.TooLittleRoom : QuotaVerdict.Fits;
    }

    private void Change(ulong mailboxId, long octets, int messages)
    {
        ref Reservation reserved = ref CollectionsMarshal.GetValueRefOrAddDefault(_reserved, mailboxId, out _);
        reserved = new Reservation(reserved.Octets + octets, reserved.Messages + messages);
        if (reserved.Messages == 0)
        {
            _reserved.Remove(mailboxId); // its place in the table is kept for the next
        }
    }

    /// <summary>What transactions under way will bring to a mailbox. A value.</summary>
    private readonly record struct Reservation(long Octets, int Messages);
}

/// <summary>Whether a maildrop takes one more message.</summary>
internal enum QuotaVerdict
{
    Fits,

    /// <summary>It has room, but not as much.</summary>
    TooLittleRoom,

    /// <summary>It has no room at all now.</summary>
    Full,

    /// <summary>Even an empty maildrop has less room.</summary>
    NeverFits,

    /// <summary>Both of the last two.</summary>
    NeverFitsAndFull,
}
