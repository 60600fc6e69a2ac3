namespace FastMail.Protocol;

/// <summary>
/// The fixed limits of the two dialogs, beside the least that its RFC asks for; those an operator may move are in
/// <see cref="SessionLimits"/>. Constants; any thread.
/// </summary>
internal static class Limits
{
    /// <summary>POP3 command line with its CRLF, octets (RFC 2449 4: 255).</summary>
    public const int Pop3CommandLineBytes = 255;

    /// <summary>
    /// An over-long command line is skipped up to its end for so many octets; then the session closes.
    /// </summary>
    public const int SkippedLineBytes = 64 * 1024;

    /// <summary>Local-part, octets (RFC 5321 4.5.3.1.1: 64).</summary>
    public const int LocalPartBytes = 64;

    /// <summary>Domain, octets (RFC 5321 4.5.3.1.2: 255).</summary>
    public const int DomainBytes = 255;

    /// <summary>One label of a domain, octets (RFC 1035 2.3.4: 63).</summary>
    public const int LabelBytes = 63;

    /// <summary>Path with its brackets and source route, octets (RFC 5321 4.5.3.1.3: 256).</summary>
    public const int PathBytes = 256;

    /// <summary>
    /// Line of content without CRLF and without a stuffed dot, octets, beyond which a message is marked as one that
    /// some clients cannot read (RFC 5321 4.5.3.1.6: 998).
    /// </summary>
    public const int PlainContentLineBytes = 998;

    /// <summary>ENVID as it is given, octets (RFC 3461 4.4: 100).</summary>
    public const int EnvelopeIdBytes = 100;

    /// <summary>ORCPT as it is given, octets (RFC 3461 4.2: 500).</summary>
    public const int OriginalRecipientBytes = 500;

    /// <summary>Received fields; one more and the message goes in circles (RFC 5321 6.3: 100 at least).</summary>
    public const int ReceivedFields = 100;

    /// <summary>Each part of a SASL PLAIN or LOGIN message, octets (RFC 4616 2: 255).</summary>
    public const int SaslPartBytes = 255;

    /// <summary>A SASL challenge before its base64, octets; ours stay below so that a long reply has room.</summary>
    public const int SaslChallengeBytes = 240;

    /// <summary>A BDAT chunk above this is not even swallowed, octets: the session closes.</summary>
    public const long SwallowedChunkBytes = int.MaxValue;

    /// <summary>Name of a transaction, octets.</summary>
    public const int TransactionIdBytes = 32;

    /// <summary>Unique-id of POP3, octets (RFC 1939 7: 70).</summary>
    public const int UniqueIdBytes = 70;

    /// <summary>Room one reply may take, octets; <see cref="LongReplyBytes"/> for those that name the host.</summary>
    public const int ReplyBytes = 128;

    /// <summary>Room the greeting, EHLO, HELO and CAPA may take, octets.</summary>
    public const int LongReplyBytes = 960;

    /// <summary>One line of a host's reply with its CRLF, octets (RFC 5321 4.5.3.1.5: 512); longer ones are in use.</summary>
    public const int HostReplyLineBytes = 2048;

    /// <summary>
    /// Lines of one reply of a host; the longest honest ones answer EHLO with some thirty.
    /// </summary>
    public const int HostReplyLines = 128;

    /// <summary>
    /// A reply of a host that goes on behind so many octets is none; with its last line it must fit a receive slab.
    /// </summary>
    public const int HostReplyBytes = 8 * 1024;

    /// <summary>Salt that a host names, octets.</summary>
    public const int ScramSaltBytes = 128;

    /// <summary>Rounds that a host must ask for, or a listener finds the password too soon (RFC 7677 4: 4,096).</summary>
    public const int ScramLeastIterations = 4096;

    /// <summary>Rounds that a host may ask for: a quarter of a second. More is an attack on us.</summary>
    public const int ScramMostIterations = 1_000_000;

    /// <summary>
    /// Room that MAIL may take, octets: the path, its parameters, 100 of ENVID. EHLO and RCPT (a path and 500 of ORCPT)
    /// take less.
    /// </summary>
    public const int ClientCommandBytes = 900;

    /// <summary>Commands that may wait for their replies, so that these fit what lies between two hosts.</summary>
    public const int PipelinedCommands = 256;

    /// <summary>Transactions that may wait for the reply to their content when BDAT lets them follow each other.</summary>
    public const int PipelinedTransactions = 8;

    /// <summary>Content up to so many octets goes by BDAT: sent in vain, when all recipients are refused, it costs little.</summary>
    public const int ChunkedContentBytes = 64 * 1024;

    /// <summary>Stuffed dots of such content: between them it is sent from where it lies, in as many pieces.</summary>
    public const int ChunkedContentDots = 48;
}
