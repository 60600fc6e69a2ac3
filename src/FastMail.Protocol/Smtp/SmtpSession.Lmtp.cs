namespace FastMail.Protocol.Smtp;

/// <summary>
/// What LMTP changes (RFC 2033): the end of the content is answered once for each recipient that was accepted, in the
/// order of the RCPT commands, and each recipient may have fared differently.
/// </summary>
public sealed partial class SmtpSession
{
    private int _owedOutcomes; // replies still to be written of _outcome
    private int _saidOutcomes;
    private bool _isCommitted; // the sink knows of each recipient

    private bool IsLmtp => _options.Role == SmtpRole.Lmtp;

    /// <summary>The content is over; the next steps answer. SMTP answers for all recipients with one reply.</summary>
    private void OweOutcome(SmtpReply reply, int recipients)
    {
        _outcome = reply;
        _owedOutcomes = IsLmtp ? Math.Max(recipients, 1) : 1;
        _saidOutcomes = 0;
        _isCommitted = false;
    }

    private SmtpReply NextOutcome()
    {
        var reply = _outcome!;
        if (IsLmtp && _isCommitted)
        {
            reply = _sink.OutcomeOf(_saidOutcomes, reply);
        }
        if (++_saidOutcomes >= _owedOutcomes)
        {
            _outcome = null;
        }
        return reply;
    }
}
