namespace FastMail.Protocol.Smtp;

/// <summary>
/// Where the mail transactions of one session go. Implemented over the mail log; entered only from the session's calls.
/// The order is <see cref="Begin"/>, <see cref="AddRecipient"/> one or more times, <see cref="BeginContent"/>,
/// <see cref="Append"/> any number of times, then <see cref="Commit"/>; <see cref="Abandon"/> may come at any point
/// after a successful <see cref="Begin"/> and before <see cref="Commit"/>.
/// </summary>
public interface IMailSink
{
    /// <summary>MAIL. <see cref="SmtpReply.ReversePathOk"/> opens a transaction, any other reply refuses it.</summary>
    SmtpReply Begin(in MailArguments mail);

    /// <summary>
    /// Asked before each RCPT: true while it is not known yet whether mail of this client is wanted. The session then
    /// takes no input until <see cref="SmtpSession.GoOn"/>, which is never called synchronously from inside this.
    /// </summary>
    bool IsJudgingClient { get; }

    /// <summary>
    /// RCPT. <see cref="SmtpReply.ForwardPathOk"/> adds the recipient, any other reply refuses it and leaves the
    /// transaction as it was.
    /// </summary>
    SmtpReply AddRecipient(in RcptArguments rcpt);

    /// <summary>
    /// DATA, or the first BDAT. Null goes on; a reply refuses the content (nothing of it will be appended).
    /// </summary>
    SmtpReply? BeginContent(in TransactionFacts facts);

    /// <summary>The next run of content in wire form (dot-stuffed, CRLF only). The span dies with the call.</summary>
    void Append(ReadOnlySpan<byte> wire);

    /// <summary>
    /// Asked after each run: true when what was appended cannot be put away as fast as it comes. The session then takes
    /// no input until <see cref="SmtpSession.GoOn"/>, which is never called synchronously from inside this.
    /// </summary>
    bool MustWait { get; }

    /// <summary>
    /// End of content; the final <c>CRLF.CRLF</c> has been appended. The reply comes back through
    /// <see cref="SmtpSession.Committed"/>, and never before the message is durable. Never called synchronously from
    /// inside this method.
    /// </summary>
    void Commit(in ContentFacts content);

    /// <summary>
    /// What the client of an LMTP session hears of one recipient once the commit has ended, asked for each that was
    /// added (RFC 2033 4.2). A sink whose recipients cannot differ says the same of each.
    /// </summary>
    /// <param name="recipient">Number of the recipient, from 0 in the order of <see cref="AddRecipient"/>.</param>
    /// <param name="commit">How the commit has ended, for all of whom nothing else is to be said.</param>
    SmtpReply OutcomeOf(int recipient, SmtpReply commit);

    /// <summary>
    /// ETRN, outside a transaction and only where it is offered: what waits for the domain is to be sent now.
    /// </summary>
    /// <param name="domain">A domain name as it was given, ASCII.</param>
    /// <param name="isWithSubdomains">And for all below it.</param>
    SmtpReply StartQueueRun(ReadOnlySpan<byte> domain, bool isWithSubdomains);

    /// <summary>The transaction is over without a message; everything held for it is released.</summary>
    void Abandon();

    /// <summary>
    /// Name of the transaction in replies, trace fields and logs, written as ASCII; returns its length (at most 32).
    /// Valid between <see cref="BeginContent"/> and the next <see cref="Begin"/>.
    /// </summary>
    int WriteTransactionId(Span<byte> destination);
}

/// <summary>The arguments of MAIL (RFC 5321 4.1.1.2 and its extensions), views that die with the call.</summary>
public readonly ref struct MailArguments
{
    /// <summary>The mailbox without angle brackets and source route; empty for the null reverse-path.</summary>
    public ReadOnlySpan<byte> ReversePath { get; init; }

    /// <summary>SIZE=, octets; 0 when it was not declared.</summary>
    public long DeclaredSize { get; init; }

    /// <summary>BODY=8BITMIME was given.</summary>
    public bool Is8BitMime { get; init; }

    /// <summary>SMTPUTF8 was given.</summary>
    public bool IsSmtpUtf8 { get; init; }

    /// <summary>Who authenticated in this session; empty when nobody did.</summary>
    public ReadOnlySpan<byte> AuthIdentity { get; init; }

    /// <summary>AUTH= as it was given, in xtext: a claim that nothing proves (RFC 4954 5); empty when not given.</summary>
    public ReadOnlySpan<byte> AuthMailbox { get; init; }

    /// <summary>ENVID= as it was given, in xtext; empty when not given.</summary>
    public ReadOnlySpan<byte> EnvelopeId { get; init; }

    public DsnReturn Return { get; init; }

    /// <summary>REQUIRETLS was given: it may leave this server over verified TLS only (RFC 8689).</summary>
    public bool RequiresTls { get; init; }

    /// <summary>Null when BY= was not given.</summary>
    public DeliverBy? DeliverBy { get; init; }

    /// <summary>MT-PRIORITY=, -9 to 9; null when it was not given.</summary>
    public int? Priority { get; init; }

    /// <summary>When it may be delivered at the earliest; null when neither HOLDFOR= nor HOLDUNTIL= was given.</summary>
    public FutureRelease? Release { get; init; }

    /// <summary>The value of HOLDFOR= or HOLDUNTIL= as it was given; empty when neither was.</summary>
    public ReadOnlySpan<byte> ReleaseText { get; init; }
}

/// <summary>The arguments of RCPT (RFC 5321 4.1.1.3, RFC 3461 4), views that die with the call.</summary>
public readonly ref struct RcptArguments
{
    /// <summary>
    /// The mailbox without angle brackets and source route, case kept; the bare word <c>postmaster</c> stands alone.
    /// </summary>
    public ReadOnlySpan<byte> ForwardPath { get; init; }

    /// <summary>Octet position of the <c>@</c> that separates local-part and domain, or -1 for bare postmaster.</summary>
    public int AtSign { get; init; }

    /// <summary>Who authenticated in this session; empty when nobody did.</summary>
    public ReadOnlySpan<byte> AuthIdentity { get; init; }

    public DsnNotify Notify { get; init; }

    /// <summary>ORCPT= as it was given, <c>addr-type ";" address</c>; empty when not given.</summary>
    public ReadOnlySpan<byte> OriginalRecipient { get; init; }
}

/// <summary>What the trace fields and the record tell of a transaction, known when its content begins.</summary>
public readonly ref struct TransactionFacts
{
    /// <summary>The argument of EHLO or HELO.</summary>
    public ReadOnlySpan<byte> Helo { get; init; }

    /// <summary>Who authenticated; empty when nobody did.</summary>
    public ReadOnlySpan<byte> AuthIdentity { get; init; }

    /// <summary>Version and cipher suite of the TLS session; empty in the clear.</summary>
    public ReadOnlySpan<byte> Tls { get; init; }

    /// <summary>EHLO was used (ESMTP), not HELO.</summary>
    public bool IsExtended { get; init; }

    /// <summary>The transaction asked for SMTPUTF8.</summary>
    public bool IsSmtpUtf8 { get; init; }

    /// <summary>Our own user submits: fields that are missing are added (RFC 6409 8).</summary>
    public bool IsSubmission { get; init; }

    /// <summary>The session speaks LMTP.</summary>
    public bool IsLmtp { get; init; }
}

/// <summary>What the content scanner found; lengths in octets.</summary>
public readonly record struct ContentFacts
{
    /// <summary>Length in wire form, the final <c>.CRLF</c> included.</summary>
    public required long WireBytes { get; init; }

    /// <summary>Length as the recipient counts it: without dot-stuffing and without the final <c>.CRLF</c>.</summary>
    public required long Octets { get; init; }

    /// <summary>
    /// Length of the header section in wire form with the empty line that ends it; equal to
    /// <see cref="WireBytes"/> - 3 when no empty line was seen.
    /// </summary>
    public required long HeaderWireBytes { get; init; }

    /// <summary>An empty line ended the header section.</summary>
    public required bool HasEndOfHeader { get; init; }

    /// <summary>An octet above 127 was seen.</summary>
    public required bool Has8Bit { get; init; }

    /// <summary>A line of more than 998 octets was seen (RFC 5321 4.5.3.1.6).</summary>
    public required bool HasLongLine { get; init; }

    /// <summary>The header section holds no Date field (RFC 5322 3.6.1 demands one).</summary>
    public bool LacksDate { get; init; }

    /// <summary>The header section holds no Message-ID field.</summary>
    public bool LacksMessageId { get; init; }
}
