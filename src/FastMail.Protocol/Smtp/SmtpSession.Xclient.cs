namespace FastMail.Protocol.Smtp;

/// <summary>
/// Takes the client that a trusted go-between speaks for. False: that client is not let in, and the session closes.
/// Entered only from the session's calls.
/// </summary>
/// <param name="address">4 or 16 octets in network order; empty when it is not known, and it stays as it was.</param>
/// <param name="port">0 when it is not known.</param>
public delegate bool ClientDeclaration(ReadOnlySpan<byte> address, int port);

/// <content>
/// XCLIENT, as Postfix defines it: a listed go-between tells whose commands it brings. What counts by client counts that
/// client from then on; nothing is granted by it. LOGIN is read and not believed: whoever submits authenticates here.
/// </content>
public sealed partial class SmtpSession
{
    private bool _isDeclared; // the commands come from farther away than the peer
    private bool _isHeloDeclared; // what the client said of itself; EHLO only tells of the go-between

    /// <summary>
    /// The peer may say XCLIENT; null: it may not. Set after <see cref="Reset"/>, which takes it away.
    /// </summary>
    public ClientDeclaration? Declaration { get; set; }

    private void ResetXclient()
    {
        Declaration = null;
        _isDeclared = false;
        _isHeloDeclared = false;
    }

    private void Xclient(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (Declaration is null)
        {
            Refuse(SessionReplies.NotForYou, ref replies);
            return;
        }
        Span<byte> address = stackalloc byte[16];
        Span<byte> helo = stackalloc byte[Limits.DomainBytes];
        if (!XclientAttributes.TryParse(argument, address, helo, out var attributes))
        {
            Refuse(SessionReplies.BadArgument, ref replies);
            return;
        }
        if (!Declaration(address[..attributes.AddressLength], attributes.Port))
        {
            replies.Write(SessionReplies.ClientRefused.Wire);
            Abandon();
            return;
        }
        // As if this client had just connected: nothing of the one before is left.
        _badCommands = 0;
        _idleCommands = 0;
        _isExtended = false;
        _isDeclared = true;
        _isHeloDeclared = attributes.HeloLength > 0;
        _helo.Set(helo[..attributes.HeloLength]);
        ResetAuth();
        Greet(ref replies);
    }
}
