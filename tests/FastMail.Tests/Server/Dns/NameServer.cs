using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using FastMail.Protocol.Dns;
using FastMail.Tests.Protocol.Dns;

namespace FastMail.Tests.Server.Dns;

/// <summary>
/// A name server on loopback that answers as a test tells it, once for each datagram that the rule gives. Its own task
/// receives; everything else is for any thread.
/// </summary>
internal sealed class NameServer : IDisposable
{
    private readonly UdpClient _socket = new(new IPEndPoint(IPAddress.Loopback, 0));
    private readonly Func<string, ushort, IEnumerable<byte[]>> _rule;

    /// <param name="rule">From a name and an id to the datagrams that are sent back.</param>
    public NameServer(Func<string, ushort, IEnumerable<byte[]>> rule)
    {
        _rule = rule;
        _ = ServeAsync();
    }

    public string EndPoint => _socket.Client.LocalEndPoint!.ToString()!;

    /// <summary>The names asked for, with the port of each question.</summary>
    public ConcurrentQueue<(string Name, int Port)> Asked { get; } = new();

    /// <summary>An address for one name, and no such name for all others.</summary>
    public static Func<string, ushort, IEnumerable<byte[]>> Only(string name, params byte[] address) =>
        (asked, id) => [asked == name ? Found(asked, id, address) : Failed(asked, id, 3)];

    public static byte[] Found(string name, ushort id, params byte[] address) =>
        new Responses(id, answers: 1).Question(name, DnsType.A).Record([0xc0, 0x0c], DnsType.A, 60, address).Octets;

    public static byte[] Failed(string name, ushort id, int code) =>
        new Responses(id, (ushort)(0x8180 | code)).Question(name, DnsType.A).Octets;

    public void Dispose() => _socket.Dispose();

    private async Task ServeAsync()
    {
        try
        {
            while (true)
            {
                UdpReceiveResult query = await _socket.ReceiveAsync();
                string name = NameIn(query.Buffer);
                Asked.Enqueue((name, query.RemoteEndPoint.Port));
                foreach (byte[] response in _rule(name, BinaryPrimitives.ReadUInt16BigEndian(query.Buffer)))
                {
                    await _socket.SendAsync(response, query.RemoteEndPoint);
                }
            }
        }
        catch (Exception e) when (e is ObjectDisposedException or SocketException)
        {
            // Disposed: the test is over.
        }
    }

    private static string NameIn(byte[] query)
    {
        var labels = new List<string>();
        for (int at = 12; query[at] != 0; at += query[at] + 1)
        {
            labels.Add(System.Text.Encoding.ASCII.GetString(query, at + 1, query[at]));
        }

        return string.Join('.', labels);
    }
}
