using System.Buffers.Binary;
using FastMail.Protocol.Smtp;
using FastMail.Storage;

namespace FastMail.Server.Receive;

/// <summary>
/// What the sender asked for beyond delivery, kept in the record's meta for reports and relay. Stateless; any thread.
/// </summary>
internal static class SenderWishes
{
    private const int MostReleaseTextBytes = 64; // a second has no end of decimals, and a line of a report has one

    private static readonly byte[] HeldText = "held back until then, as the sender wants it"u8.ToArray();

    /// <summary>When the sender wants it delivered at the earliest, microseconds since 1970 UTC; 0 for no wish.</summary>
    public static long ReleaseOf(in MailArguments mail, DateTimeOffset now) => mail.Release is not { } release ? 0
        : (release.IsUntil ? 0 : Intake.Micros(now)) + (release.Seconds * 1_000_000);

    /// <summary>Why it cannot be kept until its release (RFC 4865 4.2 and 5.2.2); null when it can.</summary>
    /// <param name="mail">Arguments of MAIL.</param>
    /// <param name="release">As <see cref="ReleaseOf"/> says.</param>
    /// <param name="longest">What the operator allows.</param>
    /// <param name="now">When MAIL came.</param>
    public static SmtpReply? RefusalOf(in MailArguments mail, long release, TimeSpan longest, DateTimeOffset now)
    {
        if (mail.Release is null)
        {
            return null;
        }

        long hold = release - Intake.Micros(now);
        return hold < 0 ? SmtpReply.HeldUntilThePast
            : hold > longest.Ticks / TimeSpan.TicksPerMicrosecond ? SmtpReply.HeldTooLong
            : mail.DeliverBy is { } by && hold > by.Seconds * 1_000_000 ? SmtpReply.HeldPastDeadline
            : null;
    }

    /// <summary>Those of MAIL.</summary>
    /// <param name="message">Begun.</param>
    /// <param name="mail">Its arguments.</param>
    /// <param name="release">As <see cref="ReleaseOf"/> says.</param>
    /// <param name="now">When MAIL came.</param>
    public static void Add(PendingMessage message, in MailArguments mail, long release, DateTimeOffset now)
    {
        Span<byte> value = stackalloc byte[sizeof(long) + sizeof(uint) + MostReleaseTextBytes];
        if (!mail.EnvelopeId.IsEmpty)
        {
            message.AddMeta(MetaType.EnvelopeId, mail.EnvelopeId);
        }

        if (mail.Return != DsnReturn.Unsaid)
        {
            value[0] = (byte)(mail.Return == DsnReturn.Full ? 1 : 2);
            message.AddMeta(MetaType.Return, value[..1]);
        }

        if (mail.RequiresTls)
        {
            message.AddMeta(MetaType.RequireTls, default);
        }

        if (mail.DeliverBy is { } by)
        {
            long deadline = Intake.Micros(now) + (by.Seconds * 1_000_000); // a hold takes of that time
            BinaryPrimitives.WriteInt64LittleEndian(value, deadline);
            value[sizeof(long)] = (byte)((by.IsReturn ? 1 : 0) | (by.IsTraced ? 2 : 0));
            message.AddMeta(MetaType.DeliverBy, value[..(sizeof(long) + 1)]);
        }

        if (mail.Priority is { } priority)
        {
            value[0] = (byte)(sbyte)priority;
            message.AddMeta(MetaType.Priority, value[..1]);
        }

        if (release > 0)
        {
            BinaryPrimitives.WriteInt64LittleEndian(value, release);
            uint seconds = mail.Release is { IsUntil: false } hold ? (uint)hold.Seconds : 0;
            BinaryPrimitives.WriteUInt32LittleEndian(value[sizeof(long)..], seconds);
            ReadOnlySpan<byte> text = mail.ReleaseText.Length <= MostReleaseTextBytes ? mail.ReleaseText : [];
            text.CopyTo(value[(sizeof(long) + sizeof(uint))..]);
            message.AddMeta(MetaType.FutureRelease, value[..(sizeof(long) + sizeof(uint) + text.Length)]);
        }

        if (!mail.AuthMailbox.IsEmpty)
        {
            message.AddMeta(MetaType.AuthMailbox, mail.AuthMailbox);
        }
    }

    /// <summary>Those of RCPT, right behind the recipient.</summary>
    public static void Add(PendingMessage message, in RcptArguments rcpt)
    {
        if (!rcpt.OriginalRecipient.IsEmpty)
        {
            message.AddMeta(MetaType.OriginalRecipient, rcpt.OriginalRecipient);
        }

        if (rcpt.Notify != DsnNotify.Unsaid)
        {
            message.AddMeta(MetaType.Notify, [(byte)rcpt.Notify]);
        }
    }

    /// <summary>Right behind a recipient of the queue: its maildrops have it as soon as this record is durable.</summary>
    public static void AddStored(PendingMessage message) => message.AddMeta(MetaType.Stored, default);

    /// <summary>The record itself puts its recipients off: it is never in the log without its hold.</summary>
    public static void AddHold(PendingMessage message, long release) => message.AddQueueChange(new QueueChange
    {
        Seq = 0, // this very message
        Recipient = QueueChange.AllRecipients,
        State = QueueState.Deferred,
        DueMicros = release,
        Text = HeldText,
    });
}
