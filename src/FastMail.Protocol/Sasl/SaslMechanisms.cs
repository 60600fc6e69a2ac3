namespace FastMail.Protocol.Sasl;

/// <summary>The SASL mechanisms, in the order in which they are advertised; as bits, so that a listener offers a set.</summary>
[Flags]
public enum SaslMechanisms
{
    None = 0,

    /// <summary>RFC 4616.</summary>
    Plain = 1 << 0,

    /// <summary>Never standardised; what old Outlooks speak.</summary>
    Login = 1 << 1,

    /// <summary>RFC 5802 and RFC 7677.</summary>
    ScramSha256 = 1 << 2,

    /// <summary>SCRAM-SHA-256 bound to the TLS channel.</summary>
    ScramSha256Plus = 1 << 3,

    /// <summary>RFC 7628.</summary>
    OAuthBearer = 1 << 4,

    /// <summary>What came before OAUTHBEARER and is more widely spoken.</summary>
    XOAuth2 = 1 << 5,
}

/// <summary>The names of the mechanisms. Stateless; any thread.</summary>
internal static class SaslNames
{
    /// <summary>Octets of all names with a separator of one octet behind or before each.</summary>
    public const int AllBytes = 6 + 6 + 14 + 19 + 12 + 8;

    private const int Count = 6;

    public static ReadOnlySpan<byte> NameOf(SaslMechanisms mechanism) => mechanism switch
    {
        SaslMechanisms.Plain => "PLAIN"u8,
        SaslMechanisms.Login => "LOGIN"u8,
        SaslMechanisms.ScramSha256 => "SCRAM-SHA-256"u8,
        SaslMechanisms.ScramSha256Plus => "SCRAM-SHA-256-PLUS"u8,
        SaslMechanisms.OAuthBearer => "OAUTHBEARER"u8,
        SaslMechanisms.XOAuth2 => "XOAUTH2"u8,
        _ => throw new ArgumentOutOfRangeException(nameof(mechanism)),
    };

    /// <summary>The mechanism of a name in any case, as <c>auth-type</c> is read; None when there is no such.</summary>
    public static SaslMechanisms Parse(ReadOnlySpan<byte> name)
    {
        for (var i = 0; i < Count; i++)
        {
            var mechanism = (SaslMechanisms)(1 << i);
            if (AsciiWord.Is(name, NameOf(mechanism)))
            {
                return mechanism;
            }
        }
        return SaslMechanisms.None;
    }

    /// <summary>Writes each name of the set between <paramref name="before"/> and <paramref name="behind"/>.</summary>
    public static void Write(
        SaslMechanisms set, scoped ReadOnlySpan<byte> before, scoped ReadOnlySpan<byte> behind, ref ReplyWriter replies)
    {
        for (var i = 0; i < Count; i++)
        {
            var mechanism = (SaslMechanisms)(1 << i);
            if ((set & mechanism) != 0)
            {
                replies.Write(before);
                replies.Write(NameOf(mechanism));
                replies.Write(behind);
            }
        }
    }
}
