namespace FastMail.Protocol.Smtp.Client;

/// <summary>Our own words about a delivery, in the form of replies. Any thread.</summary>
internal static class ClientReplies
{
    public static readonly SmtpReply Lost = new(451, "4.4.2 The connection was lost");
    public static readonly SmtpReply TimedOut = new(451, "4.4.2 The host did not answer in time");
    public static readonly SmtpReply Stopping = new(451, "4.3.2 This system stops");
    public static readonly SmtpReply Malformed = new(451, "4.5.0 The host's reply is malformed");
    public static readonly SmtpReply TooLong = new(451, "4.5.0 The host's reply is too long");
    public static readonly SmtpReply OutOfPlace = new(451, "4.5.0 The host's reply is out of place");
    public static readonly SmtpReply TlsNotOffered = new(451, "4.7.4 TLS is required and the host does not offer it");
    public static readonly SmtpReply TlsFailed = new(451, "4.7.5 The TLS handshake failed");
    public static readonly SmtpReply NotVerified = new(451, "4.7.5 The host's certificate is not the one expected");
    public static readonly SmtpReply Injected = new(451, "4.7.0 Octets in the clear between STARTTLS and the handshake");
    public static readonly SmtpReply NoAuth = new(451, "4.7.0 The host offers no way to log in that we know");
    public static readonly SmtpReply AuthInTheClear = new(451, "4.7.0 The host takes passwords in the clear only");
    public static readonly SmtpReply AuthMalformed = new(451, "4.7.0 The host's part of the login is malformed");
    public static readonly SmtpReply Unreadable = new(451, "4.3.0 The message cannot be read now");

    public static readonly SmtpReply Flawed = new(554, "5.6.0 The content holds a bare CR or LF or a NUL, or has no end");
    public static readonly SmtpReply BadPath = new(553, "5.1.3 The address is malformed");
    public static readonly SmtpReply TooLarge = new(552, "5.3.4 The message is larger than the host takes");
    public static readonly SmtpReply NoEightBit = new(554, "5.6.3 The content is 8-bit and the host takes 7-bit only");
    public static readonly SmtpReply NoSmtpUtf8 = new(553, "5.6.7 The message needs SMTPUTF8 and the host lacks it");
    public static readonly SmtpReply NoRequireTls = new(550, "5.7.30 The host does not promise REQUIRETLS");
    public static readonly SmtpReply NoDeliverBy = new(550, "5.3.3 The host does not keep delivery times");
    public static readonly SmtpReply ByTimeTooShort = new(550, "5.3.3 The host does not keep delivery times so short");
}
