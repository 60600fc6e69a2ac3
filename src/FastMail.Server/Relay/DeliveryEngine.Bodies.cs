using FastMail.Server.Relay.Scheduling;

namespace FastMail.Server.Relay;

/// <content>Large messages: how many are being read at one time is limited, and none begins that could not be.</content>
internal sealed partial class DeliveryEngine
{
    private const int ReadingAgainMicros = 1_000_000;
    private const int ReadingsPerRound = 32; // so many of those that wait look again at one time
    private const int MostReadingRounds = 60;

    private int _withoutReading; // put off since somebody could read

    /// <summary>
    /// True when the delivery can go out. Else too many large messages are being read: its consignment looks again
    /// shortly, and no attempt is counted.
    /// </summary>
    private bool TryReserveReading(Delivery delivery)
    {
        if (delivery.TryReserveReading())
        {
            _withoutReading = delivery.IsExternal ? 0 : _withoutReading;
            return true;
        }

        Consignment consignment = delivery.Consignment;
        ReturnDelivery(delivery);
        int rounds = Math.Min(1 + (_withoutReading++ / ReadingsPerRound), MostReadingRounds);
        _schedule.Wait(consignment, _schedule.Now + ((long)rounds * ReadingAgainMicros));
        Pump(); // a round looks what is due next
        return false;
    }
}
