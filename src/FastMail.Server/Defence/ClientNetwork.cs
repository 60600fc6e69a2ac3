using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace FastMail.Server.Defence;

/// <summary>
/// Whom a limit counts: one address, or the /64 that one IPv6 host gets and may number as it likes. IPv4 and its form
/// <c>::ffff:a.b.c.d</c> are the same client. Immutable value; any thread.
/// </summary>
/// <param name="High">First 64 bits of the address, IPv4 as IPv4-mapped.</param>
/// <param name="Low">Last 64 bits; 0 for a whole /64.</param>
/// <param name="IsWhole">The whole /64 is meant, not its first address.</param>
internal readonly record struct ClientNetwork(ulong High, ulong Low, bool IsWhole)
{
    private const ulong MappedPrefix = 0xffff_0000_0000;

    /// <summary>The address alone.</summary>
    public static ClientNetwork Host(IPAddress address)
    {
        Span<byte> octets = stackalloc byte[16];
        if (address.AddressFamily == AddressFamily.InterNetwork)
        {
            address.TryWriteBytes(octets, out _);
            return new ClientNetwork(0, MappedPrefix | BinaryPrimitives.ReadUInt32BigEndian(octets), false);
        }

        address.TryWriteBytes(octets, out _);
        return new ClientNetwork(
            BinaryPrimitives.ReadUInt64BigEndian(octets), BinaryPrimitives.ReadUInt64BigEndian(octets[8..]), false);
    }

    /// <summary>What one client can call its own: an IPv4 address, or the /64 of an IPv6 address.</summary>
    public static ClientNetwork Of(IPAddress address)
    {
        ClientNetwork host = Host(address);
        return host.IsIPv4 ? host : new ClientNetwork(host.High, 0, true);
    }

    public bool IsIPv4 => High == 0 && Low >> 32 == MappedPrefix >> 32 && !IsWhole;
}
