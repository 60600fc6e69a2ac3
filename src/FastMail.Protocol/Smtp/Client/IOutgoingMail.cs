namespace FastMail.Protocol.Smtp.Client;

/// <summary>
/// A mail transaction to be: asked for its parts when they are written, told each recipient's end. Owned by whoever
/// delivers; entered from the session's calls only. What it returns in spans dies with the call.
/// </summary>
public interface IOutgoingMail
{
    /// <summary>
    /// What MAIL says, as far as the host understands it. <see cref="MailArguments.Is8BitMime"/> says here that the content
    /// holds octets above 127, <see cref="MailArguments.IsSmtpUtf8"/> that its header section does;
    /// <see cref="MailArguments.DeliverBy"/> is the time that is left.
    /// </summary>
    MailArguments Mail { get; }

    /// <summary>Recipients, 1 or more.</summary>
    int Recipients { get; }

    /// <summary>What RCPT says of one of them, from 0.</summary>
    RcptArguments Recipient(int number);

    /// <summary>How long the content is.</summary>
    OutgoingContent Content { get; }

    /// <summary>
    /// The next piece of the content in wire form: dot-stuffed, CRLF only, the last one with the final
    /// <c>CRLF.CRLF</c>. False when it is not in memory yet: the session waits for
    /// <see cref="SmtpClientSession.GoOn"/>, which is never called synchronously from inside this. A piece stays as it is
    /// until the next call that comes after such a wait, or until <see cref="Ended"/>. An empty piece says that the
    /// content cannot be read: the connection is cut, so that the host does not take what it has for the whole.
    /// </summary>
    bool TryRead(out ReadOnlyMemory<byte> piece);

    /// <summary>How it ended for one recipient, exactly once for each.</summary>
    void Answered(int recipient, in DeliveryReply reply);

    /// <summary>Every recipient was answered; the session touches nothing of the mail any more.</summary>
    void Ended();
}

/// <summary>What must be known of content before it is sent.</summary>
/// <param name="WireBytes">Octets of all pieces, with the final <c>.CRLF</c>.</param>
/// <param name="Octets">Of them the author's: without stuffed dots and the end. -1 when not known: it goes by DATA.</param>
public readonly record struct OutgoingContent(long WireBytes, long Octets);
