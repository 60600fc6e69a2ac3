using System.Buffers;

namespace FastMail.Protocol.Smtp.Client;

/// <summary>From the greeting to the first transaction: EHLO, what it offers, STARTTLS.</summary>
public sealed partial class SmtpClientSession
{
    private HostOffers _offers;
    private OctetCopy _hostName;
    private TlsFacts? _tls;

    private bool _isVerified;

    /// <summary>What the host offers; changes with TLS.</summary>
    public SmtpOffers Offers => _offers.Offers;

    /// <summary>Largest message that the host takes, octets; 0 when it does not say.</summary>
    public long MaxSize => _offers.MaxSize;

    /// <summary>Recipients of one transaction: the host's RCPTMAX, or our own limit where it says nothing.</summary>
    public int MaxRecipients => _offers.MaxRecipients > 0 ? _offers.MaxRecipients : _options.MaxRecipients;

    /// <summary>How the host calls itself in the greeting, printable ASCII; empty when it does not.</summary>
    public ReadOnlySpan<byte> HostName => _hostName.Span;

    /// <summary>Version and cipher suite; empty in the clear.</summary>
    public ReadOnlySpan<byte> Tls => _tls is null ? default : _tls.Description.Span;

    /// <summary>
    /// The handshake is over, in answer to <see cref="IsStartingTls"/> or before the greeting: what the host offered in
    /// the clear is forgotten (RFC 3207 4.2). Call <see cref="Receive"/> afterwards.
    /// </summary>
    /// <param name="tls">What was agreed upon.</param>
    /// <param name="isVerified">The certificate is the one that the caller's policy demands.</param>
    public void Secured(TlsFacts tls, bool isVerified)
    {
        _tls = tls;
        _isVerified = isVerified;
        if (_options.Tls == TlsPolicy.Verify && !isVerified)
        {
            Fail(ClientReplies.NotVerified);
            return;
        }
        if (_state == State.Securing)
        {
            _offers = default;
            Enter(State.Hello);
        }
    }

    private void ResetOpening()
    {
        _offers = default;
        _hostName.Clear();
        _tls = null;
        _isVerified = false;
        ResetAuth();
    }

    private void TakeGreeting(in HostReply reply)
    {
        if (reply.Code != 220)
        {
            FailOrRefuse(reply);
            return;
        }
        var text = reply.Text;
        var end = text.IndexOf((byte)' ');
        var name = end < 0 ? text : text[..end];
        if (name.Length <= Limits.DomainBytes && name.IndexOfAnyExceptInRange((byte)'!', (byte)'~') < 0)
        {
            _hostName.Set(name);
        }
        Enter(State.Hello);
    }

    /// <summary>A host that does not know EHLO is asked with HELO (RFC 5321 3.2); LMTP has no second word.</summary>
    private void TakeHello(in HostReply reply)
    {
        if (reply.Code == 250)
        {
            _offers.Take(reply.Wire);
            GoOnFromHello();
        }
        else if (reply.Code >= 500 && !_options.IsLmtp)
        {
            Enter(State.Helo);
        }
        else
        {
            FailOrRefuse(reply);
        }
    }

    private void TakeHelo(in HostReply reply)
    {
        if (reply.Code == 250)
        {
            GoOnFromHello();
        }
        else
        {
            FailOrRefuse(reply);
        }
    }

    private void GoOnFromHello()
    {
        if (_tls is not null || _options.Tls == TlsPolicy.None)
        {
            EnterReadyOrAuth();
        }
        else if (_offers.Has(SmtpOffers.StartTls))
        {
            Enter(State.StartTls);
        }
        else if (_options.Tls == TlsPolicy.May)
        {
            EnterReadyOrAuth();
        }
        else
        {
            Fail(ClientReplies.TlsNotOffered); // taken off the list on the way, for all we know
        }
    }

    private void EnterReadyOrAuth()
    {
        if (_options.Credentials is null)
        {
            Enter(State.Ready);
        }
        else
        {
            EnterAuth();
        }
    }

    private void TakeStartTls(in HostReply reply, bool hasMore)
    {
        if (reply.Code == 220)
        {
            if (hasMore)
            {
                // Somebody on the way put it there, to be read as the first reply inside (CVE-2021-38371).
                Fail(ClientReplies.Injected);
                return;
            }
            Enter(State.Securing);
        }
        else if (_options.Tls == TlsPolicy.May && reply.Code is >= 400 and not 421)
        {
            EnterReadyOrAuth();
        }
        else
        {
            FailOrRefuse(reply, isPermanent: false);
        }
    }

    /// <summary>A negative reply is the host's word; a positive one makes no sense here.</summary>
    private void FailOrRefuse(in HostReply reply, bool isPermanent = true)
    {
        if (reply.Code < 400)
        {
            Fail(ClientReplies.OutOfPlace);
        }
        else if (!isPermanent && reply.Code >= 500)
        {
            Fail(ClientReplies.TlsNotOffered);
        }
        else
        {
            Fail(reply);
        }
    }

    private OperationStatus? SayOpening(ref ReplyWriter output)
    {
        if (_isSaid)
        {
            return OperationStatus.NeedMoreData;
        }
        _isSaid = true;
        _hasMoved = true;
        switch (_state)
        {
            case State.Hello:
                SayName(_options.IsLmtp ? "LHLO "u8 : "EHLO "u8, ref output);
                break;
            case State.Helo:
                SayName("HELO "u8, ref output);
                break;
            case State.StartTls:
                output.Write("STARTTLS\r\n"u8);
                break;
            case State.Auth:
                SayAuth(ref output);
                break;
            default:
                throw new InvalidOperationException($"Nothing to say in {_state}.");
        }
        return null;
    }

    private void SayName(ReadOnlySpan<byte> verb, ref ReplyWriter output)
    {
        output.Write(verb);
        output.Write(_options.Hostname.Span);
        output.WriteLineEnd();
    }

    private void Enter(State state)
    {
        _state = state;
        _isSaid = false;
    }
}
