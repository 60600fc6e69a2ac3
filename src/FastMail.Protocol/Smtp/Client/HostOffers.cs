using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Smtp.Client;

/// <summary>What a host's answer to EHLO says, line by line. Owned by one session and entered by its thread.</summary>
internal struct HostOffers
{
    public SmtpOffers Offers { get; private set; }

    /// <summary>Of AUTH, those that we know.</summary>
    public SaslMechanisms Mechanisms { get; private set; }

    /// <summary>SIZE, octets; 0 when there is no limit or none was told.</summary>
    public long MaxSize { get; private set; }

    /// <summary>RCPTMAX; 0 when it was not told.</summary>
    public int MaxRecipients { get; private set; }

    /// <summary>MAILMAX; 0 when it was not told.</summary>
    public int MaxMails { get; private set; }

    /// <summary>DELIVERBY, seconds: mail that must not be late is not taken with less; 0 when nothing was told.</summary>
    public long LeastByTime { get; private set; }

    public readonly bool Has(SmtpOffers offer) => (Offers & offer) == offer;

    /// <summary>Forgets what was offered before, and takes what the lines behind the first say.</summary>
    public void Take(ReadOnlySpan<byte> wire)
    {
        this = default;
        wire = wire[(wire.IndexOf((byte)'\n') + 1)..];
        while (!wire.IsEmpty)
        {
            var end = wire.IndexOf((byte)'\n');
            var line = wire[..(end - 1)];
            wire = wire[(end + 1)..];
            if (line.Length > 4)
            {
                TakeLine(AsciiWord.TrimEnd(line[4..]));
            }
        }
    }

    /// <summary><c>ehlo-line = ehlo-keyword *( SP ehlo-param )</c></summary>
    private void TakeLine(ReadOnlySpan<byte> line)
    {
        var blank = line.IndexOf((byte)' ');
        var keyword = blank < 0 ? line : line[..blank];
        var parameters = blank < 0 ? default : line[(blank + 1)..];
        var offer = OfferOf(keyword);
        Offers |= offer;
        switch (offer)
        {
            case SmtpOffers.Size when StrictDecimal.TryParse(parameters, out var size):
                MaxSize = size;
                break;
            case SmtpOffers.Auth:
                foreach (var name in parameters.Split((byte)' '))
                {
                    Mechanisms |= SaslNames.Parse(parameters[name]);
                }
                break;
            case SmtpOffers.DeliverBy when StrictDecimal.TryParse(MinByTime(parameters), out var least):
                LeastByTime = least;
                break;
            case SmtpOffers.Limits:
                TakeLimits(parameters);
                break;
            default:
                break;
        }
    }

    /// <summary><c>deliverby-param = min-by-time *( "," extension-token )</c> (RFC 2852 2)</summary>
    private static ReadOnlySpan<byte> MinByTime(ReadOnlySpan<byte> parameters)
    {
        var comma = parameters.IndexOf((byte)',');
        return comma < 0 ? parameters : parameters[..comma];
    }

    private static SmtpOffers OfferOf(ReadOnlySpan<byte> keyword) =>
        AsciiWord.Is(keyword, "PIPELINING"u8) ? SmtpOffers.Pipelining
        : AsciiWord.Is(keyword, "8BITMIME"u8) ? SmtpOffers.EightBitMime
        : AsciiWord.Is(keyword, "SIZE"u8) ? SmtpOffers.Size
        : AsciiWord.Is(keyword, "STARTTLS"u8) ? SmtpOffers.StartTls
        : AsciiWord.Is(keyword, "ENHANCEDSTATUSCODES"u8) ? SmtpOffers.EnhancedStatusCodes
        : AsciiWord.Is(keyword, "DSN"u8) ? SmtpOffers.Dsn
        : AsciiWord.Is(keyword, "SMTPUTF8"u8) ? SmtpOffers.SmtpUtf8
        : AsciiWord.Is(keyword, "CHUNKING"u8) ? SmtpOffers.Chunking
        : AsciiWord.Is(keyword, "AUTH"u8) ? SmtpOffers.Auth
        : AsciiWord.Is(keyword, "REQUIRETLS"u8) ? SmtpOffers.RequireTls
        : AsciiWord.Is(keyword, "MT-PRIORITY"u8) ? SmtpOffers.MtPriority
        : AsciiWord.Is(keyword, "DELIVERBY"u8) ? SmtpOffers.DeliverBy
        : AsciiWord.Is(keyword, "LIMITS"u8) ? SmtpOffers.Limits
        : SmtpOffers.None;

    /// <summary><c>limits-param = *( SP limit-name "=" limit-value )</c>; names that we do not know say nothing to us.</summary>
    private void TakeLimits(ReadOnlySpan<byte> parameters)
    {
        foreach (var range in parameters.Split((byte)' '))
        {
            var limit = parameters[range];
            var equals = limit.IndexOf((byte)'=');
            if (equals < 0 || !StrictDecimal.TryParse(limit[(equals + 1)..], out var value) || value == 0)
            {
                continue;
            }
            var count = (int)Math.Min(value, int.MaxValue);
            if (AsciiWord.Is(limit[..equals], "RCPTMAX"u8))
            {
                MaxRecipients = count;
            }
            else if (AsciiWord.Is(limit[..equals], "MAILMAX"u8))
            {
                MaxMails = count;
            }
        }
    }
}
