using FastMail.Server.Accounts;
using FastMail.Server.Receive;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <content>Mail for somebody who lives here: redirected, held back before, or of a domain that is hosted by now.</content>
internal sealed partial class DeliveryEngine
{
    private const long MostCopied = 16 * 1024 * 1024; // then the next copy waits for one of those to end

    private readonly Queue<Consignment> _homing = new(); // wait for that
    private long _copied; // octets of messages on their way into maildrops

    /// <summary>Each copy is held in memory until it is in the log, and many may be due at one time.</summary>
    private void DeliverHere(Consignment consignment)
    {
        if (_copied >= MostCopied)
        {
            _homing.Enqueue(consignment);
        }
        else
        {
            CopyHere(consignment);
        }
    }

    /// <summary>Those that waited, as many as may go now.</summary>
    private void GoHome()
    {
        while (_copied < MostCopied && _homing.TryDequeue(out Consignment? consignment))
        {
            Guard(consignment, _copyHere);
        }
    }

    private void CopyHere(Consignment consignment)
    {
        Delivery delivery = RentDelivery();
        if (!TryLoad(delivery, consignment) || IsTooLate(delivery, leastMicros: 1))
        {
            return;
        }

        delivery.Route = Router.Hosted;
        bool isWhole = TryFindMailboxes(delivery[0]);
        if (!isWhole || _mailboxes.Count == 0)
        {
            delivery.AnswerRest(isWhole
                ? RouteFailure.Permanent(550, "5.1.1", "No such mailbox here")
                : RouteFailure.Temporary("4.2.4", "the alias reaches too many mailboxes"));
            Complete(delivery, null);
            return;
        }

        long octets = (long)delivery.Message.Octets;
        if (Reserve(octets) is { } refusal)
        {
            delivery.AnswerRest(refusal);
            Complete(delivery, null);
            return;
        }

        _notices++;
        _copied += octets;
        new LocalDelivery(this, delivery, _mailboxes, octets).Begin();
    }

    /// <summary>
    /// Whose maildrops it means: those that it meant when it was received, if the record names them. False when an alias
    /// reaches too many.
    /// </summary>
    private bool TryFindMailboxes(in Addressee recipient)
    {
        AccountDirectory accounts = _parts.Accounts.Current;
        if (recipient.Maildrops.IsEmpty)
        {
            return accounts.Resolve(recipient.Path.Span, "", _mailboxes) != Residence.TooMany;
        }

        _mailboxes.Clear();
        HashSet<ulong> known = [];
        List<Account> found = [];
        MetaReader reader = new(recipient.Maildrops.Span);
        while (reader.Read())
        {
            // An account that is gone may have left an alias.
            if (accounts.Resolve(reader.Value, "", found) == Residence.TooMany)
            {
                return false;
            }

            _mailboxes.AddRange(found.Where(account => known.Add(account.MailboxId)));
        }

        return true;
    }

    /// <summary>Room in each of the mailboxes, or in none; then why.</summary>
    private RouteFailure? Reserve(long octets)
    {
        for (int i = 0; i < _mailboxes.Count; i++)
        {
            QuotaVerdict verdict = _parts.Quotas.Reserve(_mailboxes[i].MailboxId, octets);
            if (verdict is not QuotaVerdict.Fits)
            {
                Release(_mailboxes.Take(i), octets);
                return verdict is QuotaVerdict.NeverFits or QuotaVerdict.NeverFitsAndFull
                    ? RouteFailure.Permanent(552, "5.2.2", "the message is larger than the mailbox may be")
                    : RouteFailure.Temporary("4.2.2", "the mailbox is full");
            }
        }

        return null;
    }

    private void Release(IEnumerable<Account> mailboxes, long octets)
    {
        foreach (Account account in mailboxes)
        {
            _parts.Quotas.Release(account.MailboxId, octets);
        }
    }

    /// <summary>The copy in the maildrops is durable, and with it the end in the queue; or neither is.</summary>
    /// <param name="copy">Has ended.</param>
    /// <param name="isDurable">What became of it.</param>
    /// <param name="seq">Number of its record.</param>
    /// <param name="told">Of whom the sender wants to hear: a recipient of the copy; null for nobody.</param>
    public void LocalEnded(LocalDelivery copy, bool isDurable, ulong seq, ForwardPaths? told)
    {
        LetGo(copy);
        if (isDurable)
        {
            _delivered++;
            _schedule.Free(copy.Consignment);
            if (told is not null)
            {
                Enter(seq, told, SenderOf(default), 0);
            }
        }
        else
        {
            copy.Consignment.Stage = Stage.New;
            Defer(copy.Consignment);
        }

        EndDrainWhenQuiet();
    }

    /// <summary>A mistake of ours has ended the copy before it was handed to the log: the recipient has lost an attempt.</summary>
    public void LocalFailed(LocalDelivery copy, Exception exception)
    {
        LetGo(copy);
        copy.Consignment.Stage = Stage.New;
        Failed(copy.Consignment, exception);
        Pump();
        EndDrainWhenQuiet();
    }

    private void LetGo(LocalDelivery copy)
    {
        _notices--;
        _copied -= copy.ReservedOctets;
        Release(copy.Mailboxes, copy.ReservedOctets);
        if (_homing.Count > 0)
        {
            Pump();
        }
    }

    /// <summary>A local delivery does not need its message any more.</summary>
    public void LocalWritten(Delivery delivery) => ReturnDelivery(delivery);
}
