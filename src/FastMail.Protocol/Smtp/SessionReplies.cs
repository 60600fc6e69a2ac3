namespace FastMail.Protocol.Smtp;

/// <summary>Replies that the session gives by itself, without asking the sink. Constants; any thread.</summary>
internal static class SessionReplies
{
    public static readonly SmtpReply Ok = new(250, "2.0.0 Ok");
    public static readonly SmtpReply Bye = new(221, "2.0.0 Bye");
    public static readonly SmtpReply StartTls = new(220, "2.0.0 Ready to start TLS");
    public static readonly SmtpReply Help = new(
        214, "2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY AUTH; see RFC 5321");
    public static readonly SmtpReply CannotVerify = new(252, "2.5.0 Cannot verify, send some mail and I will try");
    public static readonly SmtpReply Authenticated = new(235, "2.7.0 Authentication successful");

    public static readonly SmtpReply TimedOut = new(421, "4.4.2 Timeout, closing connection");
    public static readonly SmtpReply ShuttingDown = new(421, "4.3.2 Service shutting down, try again later");
    public static readonly SmtpReply Failed = new(421, "4.3.0 Internal error, closing connection");
    public static readonly SmtpReply TooManyErrors = new(421, "4.7.0 Too many errors, closing connection");
    public static readonly SmtpReply TooManyIdleCommands = new(450, "4.7.0 Too many commands that carry no mail");
    public static readonly SmtpReply CannotAuthenticate = new(454, "4.7.0 Temporary authentication failure");

    public static readonly SmtpReply NoTlsNow = new(454, "4.7.0 TLS not available now, try again later");

    public static readonly SmtpReply BadLine = new(500, "5.5.2 Bare CR, bare LF or NUL in a command");
    public static readonly SmtpReply LineTooLong = new(500, "5.5.2 Line too long");
    public static readonly SmtpReply AuthLineTooLong = new(500, "5.5.6 Authentication line too long");
    public static readonly SmtpReply UnknownCommand = new(500, "5.5.2 Command not recognized");
    public static readonly SmtpReply SayLhlo = new(500, "5.5.1 This is LMTP, say LHLO");
    public static readonly SmtpReply NotACommand = new(500, "5.5.2 This is not SMTP, closing connection");
    public static readonly SmtpReply BadArgument = new(501, "5.5.4 Syntax error in parameters or arguments");
    public static readonly SmtpReply BadChunkSize = new(501, "5.5.4 Syntax: BDAT size [LAST], closing connection");
    public static readonly SmtpReply BadBase64 = new(501, "5.5.2 Malformed authentication response");
    public static readonly SmtpReply AuthCancelled = new(501, "5.7.0 Authentication cancelled");
    public static readonly SmtpReply BadReversePath = new(501, "5.1.7 Malformed reverse-path");
    public static readonly SmtpReply BadForwardPath = new(501, "5.1.3 Malformed forward-path");
    public static readonly SmtpReply NotOffered = new(502, "5.5.1 Command not implemented");
    public static readonly SmtpReply BadSequence = new(503, "5.5.1 Bad sequence of commands");
    public static readonly SmtpReply SayBdat = new(503, "5.5.1 BINARYMIME comes with BDAT, not DATA");
    public static readonly SmtpReply UnknownMechanism = new(504, "5.5.4 Unrecognized authentication type");
    public static readonly SmtpReply AuthRequired = new(530, "5.7.0 Authentication required");
    public static readonly SmtpReply MustStartTls = new(530, "5.7.0 Must issue a STARTTLS command first");
    public static readonly SmtpReply EncryptionRequired = new(538, "5.7.11 Encryption required for authentication");
    public static readonly SmtpReply BadCredentials = new(535, "5.7.8 Authentication credentials invalid");
    public static readonly SmtpReply NotForYou = new(550, "5.7.1 Not for you");
    public static readonly SmtpReply ClientRefused = new(
        421, "4.7.0 Too many connections from that client, try again later");
    public static readonly SmtpReply BareLineEnd = new(550, "5.5.2 Bare CR or bare LF in content");
    public static readonly SmtpReply NulInContent = new(550, "5.6.0 NUL in content");
    public static readonly SmtpReply TooLarge = new(552, "5.3.4 Message too big");
    public static readonly SmtpReply NeedsSmtpUtf8 = new(553, "5.6.7 Non-ASCII address needs SMTPUTF8");
    public static readonly SmtpReply MailLoop = new(554, "5.4.6 Too many hops, this message goes in circles");
    public static readonly SmtpReply LongContentLine = new(554, "5.6.0 Line of content too long");
    public static readonly SmtpReply LongHeader = new(554, "5.6.0 Header section too long");
    public static readonly SmtpReply StrayBinary = new(
        554, "5.6.3 Cannot convert: bare CR, bare LF or NUL outside a part labelled binary");
    public static readonly SmtpReply BadMimeHeader = new(
        554, "5.6.3 Cannot convert: a Content-Type or Content-Transfer-Encoding field is doubled or too long");
    public static readonly SmtpReply DeepMime = new(554, "5.6.3 Cannot convert: MIME parts nested too deep");
    public static readonly SmtpReply SpokeTooEarly = new(554, "5.5.1 Wait for the greeting, closing connection");
    public static readonly SmtpReply NoValidRecipients = new(554, "5.5.1 No valid recipients");
    public static readonly SmtpReply EarlyInput = new(554, "5.5.0 Input behind STARTTLS, closing connection");
    public static readonly SmtpReply UnknownParameter = new(555, "5.5.4 Unknown parameter");
}
