using FastMail.Protocol.Smtp;

namespace FastMail.Protocol.Notifications;

/// <summary>Who hears of what (RFC 3461 4.1 and 5.2). Stateless; any thread.</summary>
public static class NotificationPolicy
{
    /// <summary>
    /// True when the sender is to be told. Without NOTIFY that is failure and delay; and a null reverse-path is never
    /// told anything: its mail is a notification itself, and two hosts could go on telling each other for ever.
    /// </summary>
    public static bool IsWanted(DeliveryAction action, DsnNotify notify, ReadOnlySpan<byte> reversePath)
    {
        if (reversePath.IsEmpty || (notify & DsnNotify.Never) != 0)
        {
            return false;
        }
        var wish = notify == DsnNotify.Unsaid ? DsnNotify.Failure | DsnNotify.Delay : notify;
        return action switch
        {
            DeliveryAction.Failed => (wish & DsnNotify.Failure) != 0,
            DeliveryAction.Delayed => (wish & DsnNotify.Delay) != 0,
            _ => (wish & DsnNotify.Success) != 0,
        };
    }
}
