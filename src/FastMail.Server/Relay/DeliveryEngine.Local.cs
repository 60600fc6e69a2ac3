using FastMail.Server.Accounts;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Scheduling;

namespace FastMail.Server.Relay;

/// <content>Mail for somebody who lives here: redirected, held back before, or of a domain that is hosted by now.</content>
internal sealed partial class DeliveryEngine
{
    private void DeliverHere(Consignment consignment)
    {
        Delivery delivery = RentDelivery();
        if (!TryLoad(delivery, consignment))
        {
            return;
        }

        if (_parts.Accounts.Current.Resolve(delivery[0].Path.Span, "", _mailboxes) != Residence.Mailbox)
        {
            delivery.AnswerRest(RouteFailure.Permanent(550, "5.1.1", "No such mailbox here"));
            Complete(delivery, null);
            return;
        }

        _notices++;
        new LocalDelivery(this, delivery, _mailboxes).Begin();
    }

    /// <summary>The copy in the maildrops is durable, and with it the end in the queue; or neither is.</summary>
    public void LocalEnded(LocalDelivery copy, bool isDurable)
    {
        _notices--;
        if (isDurable)
        {
            _delivered++;
            _schedule.Free(copy.Consignment);
        }
        else
        {
            copy.Consignment.Stage = Stage.New;
            _schedule.Defer(copy.Consignment);
            Pump();
        }

        EndDrainWhenQuiet();
    }

    /// <summary>A local delivery does not need its message any more.</summary>
    public void LocalWritten(Delivery delivery) => ReturnDelivery(delivery);
}
