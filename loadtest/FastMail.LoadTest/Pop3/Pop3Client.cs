using System.Buffers.Text;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using FastMail.LoadTest.Kernel;

namespace FastMail.LoadTest.Pop3;

/// <summary>
/// The client's side of one POP3 session (RFC 1939) on a blocking socket: commands may be sent ahead of their replies
/// (RFC 2449 6.6). Owned by one thread. Every method may throw <see cref="Pop3Exception"/> for what the server says
/// and <see cref="SocketException"/> for what the network does.
/// </summary>
internal sealed class Pop3Client : IDisposable
{
    private const int FirstBufferOctets = 64 * 1024;
    private const int LongestLine = 16 * 1024 * 1024;

    private readonly Socket _socket;
    private readonly byte[] _commands = new byte[4096];
    private byte[] _received = new byte[FirstBufferOctets];
    private int _start;
    private int _end;
    private int _unsent;

    /// <summary>Connects and reads the greeting.</summary>
    internal Pop3Client(TargetAddress target, TimeSpan timeout)
    {
        _socket = new Socket(target.EndPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp)
        {
            NoDelay = true,
            ReceiveTimeout = (int)timeout.TotalMilliseconds,
            SendTimeout = (int)timeout.TotalMilliseconds,
        };
        try
        {
            _socket.Connect(target.EndPoint);
            _ = ReadStatus("greeting");
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    public void Dispose() => _socket.Dispose();

    internal void Login(string user, string password)
    {
        _ = Ask($"USER {user}", "USER");
        _ = Ask($"PASS {password}", "PASS");
    }

    /// <summary>Number of messages and octets of the maildrop.</summary>
    internal (int Count, long Octets) Stat()
    {
        string[] words = Ask("STAT", "STAT").Split(' ');
        return words.Length >= 3
            && int.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out int count)
            && long.TryParse(words[2], NumberStyles.None, CultureInfo.InvariantCulture, out long octets)
            ? (count, octets)
            : throw new Pop3Exception("STAT: no message count and size in the reply");
    }

    /// <summary>Octets by message-number - 1; the listing must be 1..n in order.</summary>
    internal List<long> List() => [.. ReadListing("LIST").Select(text =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long octets)
            ? octets
            : throw new Pop3Exception($"LIST: '{text}' is not a size"))];

    /// <summary>Unique-ids by message-number - 1.</summary>
    internal List<string> Uidl() => ReadListing("UIDL");

    internal void Quit() => Ask("QUIT", "QUIT");

    /// <summary>Puts a command into the next write; <see cref="Flush"/> or a read sends it.</summary>
    internal void Post(ReadOnlySpan<byte> verb, int number)
    {
        if (_commands.Length - _unsent < verb.Length + 16)
        {
            Flush();
        }

        verb.CopyTo(_commands.AsSpan(_unsent));
        _unsent += verb.Length;
        _commands[_unsent++] = (byte)' ';
        _ = Utf8Formatter.TryFormat(number, _commands.AsSpan(_unsent), out int digits);
        _unsent += digits;
        "\r\n"u8.CopyTo(_commands.AsSpan(_unsent));
        _unsent += 2;
    }

    internal void Flush()
    {
        SendAll(_commands.AsSpan(0, _unsent));
        _unsent = 0;
    }

    /// <summary>The text of a +OK line; -ERR throws.</summary>
    internal string ReadStatus(string asked)
    {
        Flush();
        string line = Encoding.UTF8.GetString(ReadLine()).TrimEnd('\r', '\n');
        return line == "+OK" || line.StartsWith("+OK ", StringComparison.Ordinal)
            ? line
            : throw new Pop3Exception($"{asked}: {line}");
    }

    /// <summary>
    /// Reads a multi-line reply after its status line, dot-unstuffed, to the lone dot; returns its octets without it.
    /// </summary>
    internal long ReadContent(OwnPart? own)
    {
        long octets = 0;
        while (true)
        {
            ReadOnlySpan<byte> line = ReadLine();
            if (line[0] == (byte)'.')
            {
                if (line.SequenceEqual(".\r\n"u8))
                {
                    return octets;
                }

                line = line[1..];
            }

            octets += line.Length;
            own?.Append(line);
        }
    }

    private string Ask(string command, string verb)
    {
        Flush();
        SendAll(Encoding.UTF8.GetBytes(command + "\r\n"));
        return ReadStatus(verb);
    }

    private List<string> ReadListing(string verb)
    {
        _ = Ask(verb, verb);
        List<string> listing = [];
        while (true)
        {
            string line = Encoding.ASCII.GetString(ReadLine()).TrimEnd('\r', '\n');
            if (line == ".")
            {
                return listing;
            }

            int space = line.IndexOf(' ', StringComparison.Ordinal);
            if (space < 0
                || !int.TryParse(line.AsSpan(0, space), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
                || number != listing.Count + 1)
            {
                throw new Pop3Exception($"{verb}: '{line}' where message {listing.Count + 1} should be");
            }

            listing.Add(line[(space + 1)..]);
        }
    }

    private void SendAll(ReadOnlySpan<byte> octets)
    {
        while (!octets.IsEmpty)
        {
            octets = octets[_socket.Send(octets)..];
        }
    }

    /// <summary>A line with its end; a view that dies with the next read.</summary>
    private ReadOnlySpan<byte> ReadLine()
    {
        int searched = 0;
        while (true)
        {
            int lineFeed = _received.AsSpan(_start + searched, _end - _start - searched).IndexOf((byte)'\n');
            if (lineFeed >= 0)
            {
                int length = searched + lineFeed + 1;
                ReadOnlySpan<byte> line = _received.AsSpan(_start, length);
                _start += length;
                return line;
            }

            searched = _end - _start;
            Receive();
        }
    }

    private void Receive()
    {
        if (_start > 0)
        {
            _received.AsSpan(_start, _end - _start).CopyTo(_received);
            _end -= _start;
            _start = 0;
        }

        if (_end == _received.Length)
        {
            if (_end >= LongestLine)
            {
                throw new Pop3Exception($"a line longer than {LongestLine} octets");
            }

            Array.Resize(ref _received, _received.Length * 2);
        }

        int read = _socket.Receive(_received.AsSpan(_end));
        if (read == 0)
        {
            throw new Pop3Exception("the server closed the connection");
        }

        _end += read;
    }
}
