using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.Protocol.Dns;
using FastMail.Protocol.Smtp;

namespace FastMail.Server.Defence;

/// <summary>
/// One DNS blocklist (RFC 5782): a client is listed when its address, turned round, is a name in the zone. Immutable;
/// any thread.
/// </summary>
internal sealed class BlocklistZone
{
    private readonly IPAddress? _code;

    /// <param name="name">Lower case, without a dot at its end.</param>
    /// <param name="code">The only answer that counts; null for any in 127.0.0.0/8.</param>
    public BlocklistZone(string name, IPAddress? code)
    {
        Name = name;
        _code = code;
        Refusal = SmtpReply.ListedBy(name);
    }

    public string Name { get; }

    /// <summary>What each recipient's sender hears.</summary>
    public SmtpReply Refusal { get; }

    /// <summary><c>2.0.0.127.ZONE</c>, or the 32 nibbles of an IPv6 address (RFC 5782 2.1, 2.4).</summary>
    public string NameOf(IPAddress client)
    {
        IPAddress plain = client.IsIPv4MappedToIPv6 ? client.MapToIPv4() : client;
        byte[] octets = plain.GetAddressBytes();
        var name = new StringBuilder(80 + Name.Length);
        foreach (byte octet in octets.Reverse())
        {
            if (plain.AddressFamily == AddressFamily.InterNetwork)
            {
                name.Append(CultureInfo.InvariantCulture, $"{octet}.");
            }
            else
            {
                name.Append(CultureInfo.InvariantCulture, $"{octet & 0xf:x}.{octet >> 4:x}.");
            }
        }

        return name.Append(Name).ToString();
    }

    /// <summary>
    /// An answer outside 127.0.0.0/8 comes from a domain that was sold or a resolver that invents answers; one in
    /// 127.255.255.0/24 says by the lists' convention that the question was refused. Neither says anything of the client.
    /// </summary>
    public bool Lists(DnsAnswer answer)
    {
        foreach (byte[] data in answer.Data)
        {
            bool isCode = data[0] == 127 && !(data[1] == 255 && data[2] == 255);
            if (isCode && (_code is null || _code.Equals(new IPAddress(data))))
            {
                return true;
            }
        }

        return false;
    }
}
