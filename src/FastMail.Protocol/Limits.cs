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
}
