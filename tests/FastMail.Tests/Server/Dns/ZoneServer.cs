using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using FastMail.Protocol.Dns;
using FastMail.Tests.Protocol.Dns;

namespace FastMail.Tests.Server.Dns;

/// <summary>
/// A recursive resolver on loopback, over UDP and TCP, whose whole world is a few records. Its own tasks answer;
/// everything else is for any thread.
/// </summary>
internal sealed class ZoneServer : IDisposable
{
    private const int ServerFailure = 2;
    private const int NoSuchName = 3;

    private readonly Socket _datagrams = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
    private readonly TcpListener _streams = new(IPAddress.Loopback, 0);
    private readonly ConcurrentDictionary<string, List<(string Type, byte[] Data)>> _zone = new(StringComparer.Ordinal);

    /// <param name="records">
    /// <c>name TYPE data</c>: A, AAAA, CNAME, MX, TXT (the rest of the line), TLSA (numbers and hexadecimal), and the
    /// types FAIL, REFUSED and SILENT for names whose questions, or those of the type that follows, end like that.
    /// </param>
    public ZoneServer(params string[] records)
    {
        _streams.Start(); // first: on a busy machine few ports are free of TCP's past connections
        EndPoint = (IPEndPoint)_streams.LocalEndpoint;
        _datagrams.Bind(EndPoint);
        foreach (string record in records)
        {
            Add(record);
        }

        _ = ServeDatagramsAsync();
        _ = ServeStreamsAsync();
    }

    public IPEndPoint EndPoint { get; }

    /// <summary>Says that DNSSEC has proved everything.</summary>
    public bool IsAuthentic { get; set; }

    /// <summary>Names that it does not say this of, or <c>name TYPE</c> for one question.</summary>
    public HashSet<string> Unproven { get; } = new(StringComparer.Ordinal);

    /// <summary>Seconds that everything may be remembered.</summary>
    public uint Lifetime { get; set; } = 300;

    /// <summary>Answers FORMERR to questions with EDNS0.</summary>
    public bool IsOld { get; set; }

    /// <summary>Changes a response before it is sent; null for none.</summary>
    public Func<byte[], byte[]>? Distort { get; set; }

    public ConcurrentQueue<(string Name, DnsType Type, bool IsStream)> Asked { get; } = new();

    public void Add(string record)
    {
        string[] words = record.Split(' ', 3);
        string data = words.Length > 2 ? words[2] : "";
        _zone.GetOrAdd(words[0], _ => []).Add((words[1], words[1] switch
        {
            "A" or "AAAA" => IPAddress.Parse(data).GetAddressBytes(),
            "CNAME" or "PTR" => NameOf(data),
            "MX" => [.. Number(ushort.Parse(data.Split(' ')[0])), .. NameOf(data.Split(' ')[1])],
            "TXT" => [.. data.Chunk(255).SelectMany(c => (byte[])[(byte)c.Length, .. System.Text.Encoding.ASCII.GetBytes(c)])],
            "TLSA" => [.. data.Split(' ')[..3].Select(byte.Parse), .. Convert.FromHexString(data.Split(' ')[3])],
            _ => System.Text.Encoding.ASCII.GetBytes(data),
        }));
    }

    public void Remove(string name) => _zone.TryRemove(name, out _);

    public void Dispose()
    {
        _datagrams.Dispose();
        _streams.Dispose();
    }

    private static byte[] NameOf(string text) => text == "." ? [0] : Responses.Name(text);

    private static byte[] Number(ushort value) => [(byte)(value >> 8), (byte)value];

    private async Task ServeDatagramsAsync()
    {
        byte[] buffer = new byte[4096];
        try
        {
            while (true)
            {
                SocketReceiveFromResult received = await _datagrams.ReceiveFromAsync(buffer, new IPEndPoint(IPAddress.Any, 0));
                byte[] query = buffer[..received.ReceivedBytes];
                if (Answer(query, isStream: false) is { } response)
                {
                    await _datagrams.SendToAsync(response, received.RemoteEndPoint);
                }
            }
        }
        catch (Exception e) when (e is ObjectDisposedException or SocketException)
        {
            // Disposed: the test is over.
        }
    }

    private async Task ServeStreamsAsync()
    {
        try
        {
            while (true)
            {
                using TcpClient client = await _streams.AcceptTcpClientAsync();
                NetworkStream stream = client.GetStream();
                byte[] length = new byte[2];
                await stream.ReadExactlyAsync(length);
                byte[] query = new byte[BinaryPrimitives.ReadUInt16BigEndian(length)];
                await stream.ReadExactlyAsync(query);
                if (Answer(query, isStream: true) is { } response)
                {
                    await stream.WriteAsync(Number((ushort)response.Length)); // in two pieces, as some servers do
                    await stream.WriteAsync(response);
                }
            }
        }
        catch (Exception e) when (e is ObjectDisposedException or SocketException or IOException)
        {
            // Disposed: the test is over.
        }
    }

    private byte[]? Answer(byte[] query, bool isStream)
    {
        byte[] wire = new byte[DnsName.MaxBytes];
        DnsName.TryRead(query, 12, wire, out int length, out int next);
        DnsName.TryGetHost(wire.AsSpan(0, length), out string name);
        var type = (DnsType)BinaryPrimitives.ReadUInt16BigEndian(query.AsSpan(next));
        bool hasExtensions = query[11] == 1;
        Asked.Enqueue((name, type, isStream));
        ushort id = BinaryPrimitives.ReadUInt16BigEndian(query);
        byte[]? response = IsOld && hasExtensions ? Empty(id, name, type, 1) : Answer(id, name, type);
        int most = isStream ? ushort.MaxValue : hasExtensions ? BinaryPrimitives.ReadUInt16BigEndian(query.AsSpan(next + 7)) : 512;
        response = response?.Length > most ? Empty(id, name, type, 0x0200) : response;
        return response is null || Distort is null ? response : Distort(response);
    }

    private byte[]? Answer(ushort id, string name, DnsType type)
    {
        List<(string Owner, string Type, byte[] Data)> answers = [];
        string owner = name;
        for (int i = 0; i < 20; i++)
        {
            List<(string Type, byte[] Data)> records = _zone.GetValueOrDefault(owner, []);
            foreach ((string fate, byte[] of) in records)
            {
                bool isMeant = of.Length == 0 || System.Text.Encoding.ASCII.GetString(of) == TextOf(type);
                if (fate == "SILENT" && isMeant)
                {
                    return null;
                }

                if (fate is "FAIL" or "REFUSED" && isMeant)
                {
                    return Empty(id, name, type, fate == "FAIL" ? ServerFailure : 5);
                }
            }

            answers.AddRange(records.Where(r => r.Type == TextOf(type)).Select(r => (owner, r.Type, r.Data)));
            byte[]? alias = records.Find(r => r.Type == "CNAME").Data;
            if (alias is null || type == DnsType.Cname)
            {
                break;
            }

            answers.Add((owner, "CNAME", alias));
            DnsName.TryGetHost(alias, out owner);
        }

        bool exists = _zone.ContainsKey(owner) || _zone.Keys.Any(key => key.EndsWith("." + owner, StringComparison.Ordinal));
        int proof = IsAuthentic && !Unproven.Contains(name) && !Unproven.Contains($"{name} {TextOf(type)}") ? 0x20 : 0;
        var response = new Responses(
            id, (ushort)(0x8180 | proof | (exists ? 0 : NoSuchName)), answers: (ushort)answers.Count).Question(name, type);
        foreach ((string recordOwner, string recordType, byte[] data) in answers)
        {
            byte[] label = recordOwner == name ? [0xc0, 0x0c] : Responses.Name(recordOwner);
            response.Record(label, Enum.Parse<DnsType>(recordType, ignoreCase: true), Lifetime, data);
        }

        return response.Octets;
    }

    private static string TextOf(DnsType type) => type.ToString().ToUpperInvariant();

    private static byte[] Empty(ushort id, string name, DnsType type, int flags) =>
        new Responses(id, (ushort)(0x8180 | flags)).Question(name, type).Octets;
}
