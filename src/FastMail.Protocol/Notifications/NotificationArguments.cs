using FastMail.Protocol.Smtp;

namespace FastMail.Protocol.Notifications;

/// <summary>What happened to a message for one recipient (RFC 3464 2.3.3).</summary>
public enum DeliveryAction : byte
{
    /// <summary>It will not be delivered, and is not tried again.</summary>
    Failed,

    /// <summary>It has not been delivered so far, and is tried again.</summary>
    Delayed,

    /// <summary>It is in the recipient's maildrop.</summary>
    Delivered,

    /// <summary>Another host has it; no more is known here.</summary>
    Relayed,

    /// <summary>It went on to several other addresses.</summary>
    Expanded,
}

/// <summary>
/// What a notification tells of one recipient. A value; its memories are read until
/// <see cref="NotificationWriter.Begin"/> has returned. Texts of others need not be clean: what could end a line or
/// move a terminal's cursor is taken out.
/// </summary>
public readonly record struct NotifiedRecipient
{
    /// <summary>The forward-path without angle brackets.</summary>
    public required ReadOnlyMemory<byte> Address { get; init; }

    public required DeliveryAction Action { get; init; }

    /// <summary>
    /// Enhanced status code, <c>5.1.1</c>; where it is none (RFC 3463 2), one that says no more than the action.
    /// </summary>
    public required ReadOnlyMemory<byte> Status { get; init; }

    /// <summary>ORCPT as it was given; empty when it was not.</summary>
    public ReadOnlyMemory<byte> OriginalRecipient { get; init; }

    /// <summary>
    /// The next hop that said so, <c>mx.example.org[192.0.2.1]:25</c>, a name or a path; empty when it was this host.
    /// </summary>
    public ReadOnlyMemory<byte> RemoteHost { get; init; }

    /// <summary>The next hop has DSN: it reports what becomes of the message as far as it was asked to.</summary>
    public bool HostReports { get; init; }

    /// <summary>The reply with its code, its lines joined anyhow, or the reason in our words; may be empty.</summary>
    public ReadOnlyMemory<byte> Diagnostic { get; init; }

    /// <summary>The diagnostic is a reply of SMTP or LMTP.</summary>
    public bool IsSmtpReply { get; init; }

    public DateTimeOffset? LastAttempt { get; init; }

    /// <summary>Of a delay: the end of all attempts; null when the last one has succeeded, but late.</summary>
    public DateTimeOffset? WillRetryUntil { get; init; }
}

/// <summary>What a notification says of the message; views that die with the call.</summary>
public readonly ref struct NotificationArguments
{
    /// <summary>The reverse-path of the message, to which the notification goes; never empty.</summary>
    public required ReadOnlySpan<byte> Sender { get; init; }

    /// <summary>Our name.</summary>
    public required ReadOnlySpan<byte> Hostname { get; init; }

    /// <summary>Name of the notification itself, at most 32 letters and digits.</summary>
    public required ReadOnlySpan<byte> TransactionId { get; init; }

    /// <summary>Name under which the message was received; may be empty.</summary>
    public ReadOnlySpan<byte> OriginalTransactionId { get; init; }

    /// <summary>ENVID as it was given, in xtext; empty when it was not.</summary>
    public ReadOnlySpan<byte> EnvelopeId { get; init; }

    public required DateTimeOffset Now { get; init; }

    /// <summary>When the message was received.</summary>
    public required DateTimeOffset ArrivedAt { get; init; }

    /// <summary>When it was to be delivered at the latest, by BY; null without it.</summary>
    public DateTimeOffset? DeliverBy { get; init; }

    /// <summary>HOLDFOR or HOLDUNTIL; null when neither was given.</summary>
    public FutureRelease? Release { get; init; }

    /// <summary>Its value as it was given; empty when that is not known.</summary>
    public ReadOnlySpan<byte> ReleaseText { get; init; }

    /// <summary>Nobody can guess it: with it no message can hold the line that ends its part.</summary>
    public required ulong Random { get; init; }

    public DsnReturn Return { get; init; }

    /// <summary>Length of the message in wire form, as it will be given.</summary>
    public required long OriginalWireBytes { get; init; }

    /// <summary>Of a longer message only the header section is returned, octets.</summary>
    public required long MaxFullBytes { get; init; }

    /// <summary>There is an octet above 127 in the message.</summary>
    public bool OriginalHas8Bit { get; init; }

    /// <summary>There is a NUL in the message: it cannot be sent as it is.</summary>
    public bool OriginalHasNul { get; init; }

    /// <summary>
    /// It goes on to a host of which nobody knows whether it takes octets above 127: then none leaves that can be
    /// helped.
    /// </summary>
    public bool LeavesHere { get; init; }

    /// <summary>The transaction asked for SMTPUTF8 (RFC 6531).</summary>
    public bool OriginalIsSmtpUtf8 { get; init; }
}

/// <summary>Takes the next run of a message in wire form; the span dies with the call.</summary>
public delegate void WireSink(ReadOnlySpan<byte> wire);

/// <summary>What the log and the relay have to know of a finished notification.</summary>
/// <param name="Octets">Length without dot-stuffing and the final <c>.CRLF</c>.</param>
/// <param name="HeaderWireBytes">Length of the header section with the empty line that ends it.</param>
/// <param name="Has8Bit">There is an octet above 127 in it.</param>
/// <param name="HasLongLine">There is a line of more than 998 octets in it.</param>
/// <param name="NeedsSmtpUtf8">An address in its header is not ASCII: it travels with SMTPUTF8 only.</param>
public readonly record struct NotificationFacts(
    long Octets, long HeaderWireBytes, bool Has8Bit, bool HasLongLine, bool NeedsSmtpUtf8);
