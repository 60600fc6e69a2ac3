using FastMail.Protocol.Smtp;
using FastMail.Protocol.Smtp.Client;
using FastMail.Server.Relay.Routing;

namespace FastMail.Server.Relay;

/// <summary>
/// One recipient of a delivery: who it is, as the record says, and how the attempt ended. Owned and reused by its
/// <see cref="Delivery"/>.
/// </summary>
internal struct Addressee
{
    /// <summary>The forward-path as it was received, in the record's meta: by that the sender is told of it.</summary>
    public ReadOnlyMemory<byte> Named;

    /// <summary>The same, or what an operator has put in its place: by that it is sent.</summary>
    public ReadOnlyMemory<byte> Path;

    /// <summary>
    /// The fields of the record's meta that name its maildrops, see <see cref="FastMail.Storage.MetaType.Maildrop"/>; empty
    /// when its path does.
    /// </summary>
    public ReadOnlyMemory<byte> Maildrops;

    /// <summary>ORCPT as it was given; empty when it was not.</summary>
    public ReadOnlyMemory<byte> OriginalRecipient;

    public DsnNotify Notify;

    /// <summary>It is in maildrops of this server already; the sender is to be told, and that is all.</summary>
    public bool IsStored;

    /// <summary>What it means is known: no way is looked for.</summary>
    public readonly bool IsHere => IsStored || !Maildrops.IsEmpty;

    /// <summary>The decision that it has no way to go; null when that of the delivery is about it.</summary>
    public Route? Route;

    public bool IsAnswered;

    public DeliveryOutcome Outcome;

    public ClientPhase Phase;

    public int Code;

    public EnhancedStatus Status;

    /// <summary>The words are the host's.</summary>
    public bool IsRemote;

    /// <summary>The message may have arrived although nobody has said so.</summary>
    public bool IsInDoubt;

    /// <summary>Where the words are in the delivery's memory.</summary>
    public int Text;

    public int TextBytes;

    public void Answer(in DeliveryReply reply)
    {
        IsAnswered = true;
        Outcome = reply.Outcome;
        Phase = reply.Phase;
        Code = reply.Code;
        Status = reply.Status;
        IsRemote = reply.IsRemote;
        IsInDoubt = reply.IsInDoubt;
    }

    public void Answer(RouteFailure failure)
    {
        IsAnswered = true;
        Outcome = failure.IsPermanent ? DeliveryOutcome.Failed : DeliveryOutcome.Deferred;
        Phase = ClientPhase.Idle;
        Code = failure.Code;
        Status = StatusOf(failure.Status);
        IsRemote = false;
        IsInDoubt = false;
    }

    /// <summary>It has arrived, in a maildrop of this server.</summary>
    public void AnswerStored()
    {
        IsAnswered = true;
        Outcome = DeliveryOutcome.Delivered;
        Phase = ClientPhase.Idle;
        Code = 250;
        Status = new EnhancedStatus(2, 1, 5);
        IsRemote = false;
        IsInDoubt = false;
    }

    /// <summary>A status of ours as a value.</summary>
    public static EnhancedStatus StatusOf(string text)
    {
        string[] parts = text.Split('.');
        return new EnhancedStatus(
            byte.Parse(parts[0], System.Globalization.CultureInfo.InvariantCulture),
            ushort.Parse(parts[1], System.Globalization.CultureInfo.InvariantCulture),
            ushort.Parse(parts[2], System.Globalization.CultureInfo.InvariantCulture));
    }
}
