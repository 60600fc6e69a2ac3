using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using FastMail.Tests.Protocol;
using FastMail.Tests.Server;

namespace FastMail.Tests.HostileInput;

/// <summary>How the octets of a row are cut on their way.</summary>
internal enum Cut
{
    Whole,

    /// <summary>Each octet in a segment (over TLS: a record) of its own; long rows in pieces.</summary>
    EachOctet,
}

/// <summary>
/// Plays one row against a running server and notes the replies. Owned by one test, on its thread; reads on another, or
/// a flood of commands and its replies would wait for each other.
/// </summary>
internal sealed class HostileClient : IDisposable
{
    private const int LongRowOctets = 4096;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private static readonly Regex Token = new(
        @"(?<token><FLUSH>|<OK>|<334>|<\+ >|<ANY>|<TLS>|<CLOSE>|<RST>|<SHUT_WR>)", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture);

    private readonly ServerFixture _fixture;
    private readonly bool _isPop3;
    private readonly Socket _socket;
    private readonly object _gate = new(); // waited on, which a Lock cannot be
    private readonly List<string> _replies = [];
    private Stream _stream;
    private Thread? _reader;
    private bool _hasEnded;
    private bool _isCut;

    private HostileClient(ServerFixture fixture, string role)
    {
        _fixture = fixture;
        _isPop3 = role == "pop3";
        _socket = fixture.Connect(role);
        _stream = new NetworkStream(_socket);
    }

    /// <summary>Plays the row; returns its replies, and whether the server closed of its own accord.</summary>
    public static (List<string> Replies, bool Closed) Play(ServerFixture fixture, HostileRow row, Cut cut, bool overTls)
    {
        using HostileClient client = new(fixture, RoleOf(row));
        bool isTlsState = row.State.Contains("tls", StringComparison.Ordinal);
        if (!row.SpeaksFirst)
        {
            client.StartReading();
            client.Await(1);
        }

        if (overTls || isTlsState)
        {
            client.Prepare(client._isPop3 ? @"STLS\r\n" : @"EHLO c.test\r\nSTARTTLS\r\n");
            client.BeginTls();
        }

        foreach (string step in Preamble(row.State))
        {
            client.Prepare(step);
        }

        int before = client.Count;
        bool closed = client.Send(row, cut, before);
        client.Join();
        return ([.. client._replies.Skip(row.SpeaksFirst ? 0 : before)], closed);
    }

    public void Dispose()
    {
        _stream.Dispose();
        _socket.Dispose();
    }

    private static string RoleOf(HostileRow row) =>
        row.State.StartsWith("pop", StringComparison.Ordinal) ? "pop3"
        : row.State is "tls" or "tls-authed" || row.Id == "TLS-auth-kept" ? "submission" : "mx";

    private static string[] Preamble(string state) => state switch
    {
        "ehlo" => [@"EHLO c.test\r\n"],
        "mail" => [@"EHLO c.test\r\n", @"MAIL FROM:<a@b.test>\r\n"],
        "mail-null" => [@"EHLO c.test\r\n", @"MAIL FROM:<>\r\n"],
        "rcpt" => [.. Preamble("mail"), @"RCPT TO:<u@local.test>\r\n"],
        "data" => [.. Preamble("rcpt"), @"DATA\r\n"],
        "tls" => [@"EHLO c.test\r\n"],
        "tls-authed" => [@"EHLO c.test\r\n", @"AUTH PLAIN AHVAbG9jYWwudGVzdABzZWNyZXQ=\r\n"],
        _ when state.StartsWith("pop-trans", StringComparison.Ordinal) =>
            [@"USER v@local.test\r\n", @"PASS secret\r\n"],
        _ => [],
    };

    private int Count
    {
        get
        {
            lock (_gate)
            {
                return _replies.Count;
            }
        }
    }

    /// <summary>Sends the octets of the row and the farewell behind them; true when the server closed before that.</summary>
    private bool Send(HostileRow row, Cut cut, int before)
    {
        int waits = 0;
        foreach (string part in Token.Split(row.Octets))
        {
            switch (part)
            {
                case "" or "<FLUSH>":
                    break;
                case "<OK>" or "<334>" or "<+ >" or "<ANY>":
                    Await(before + ++waits);
                    break;
                case "<TLS>":
                    Await(before + ++waits);
                    BeginTls();
                    break;
                case "<CLOSE>":
                    _isCut = true;
                    _socket.Close();
                    return false;
                case "<RST>":
                    _isCut = true;
                    _socket.LingerState = new LingerOption(true, 0);
                    _socket.Close();
                    return false;
                case "<SHUT_WR>":
                    _socket.Shutdown(SocketShutdown.Send);
                    return false;
                default:
                    Send(Script.Octets(part.Replace("$RND", "r4nd0m", StringComparison.Ordinal)), cut);
                    break;
            }
        }

        if (row.SpeaksFirst)
        {
            StartReading();
        }

        if (row.Choice is { Closes: true })
        {
            Join();
            return true;
        }

        SayFarewell(row);
        return false;
    }

    /// <summary>What proves that the dialog goes on: the server answers it and closes.</summary>
    private void SayFarewell(HostileRow row)
    {
        bool undeletes = row.State.StartsWith("pop-trans", StringComparison.Ordinal);
        Send(Encoding.ASCII.GetBytes(undeletes ? "RSET\r\nQUIT\r\n" : "QUIT\r\n"), Cut.Whole);
        _reader!.Join(Patience);
    }

    private void Prepare(string step)
    {
        int count = Count;
        Send(Script.Octets(step), Cut.Whole);
        Await(count + step.Split(@"\r\n").Length - 1);
    }

    private void Send(byte[] octets, Cut cut)
    {
        int piece = cut == Cut.Whole ? octets.Length : octets.Length <= LongRowOctets ? 1 : (octets.Length / 97) + 1;
        try
        {
            for (int at = 0; at < octets.Length; at += piece)
            {
                _stream.Write(octets, at, Math.Min(piece, octets.Length - at));
            }

            _stream.Flush();
        }
        catch (IOException)
        {
            // The server has closed in the midst of it; its replies tell whether it should.
        }
    }

    private void BeginTls()
    {
        Join(); // the reader of the clear text has ended with the reply to STARTTLS
        SslStream tls = new(_stream, leaveInnerStreamOpen: false);
        tls.AuthenticateAsClient(new SslClientAuthenticationOptions
        {
            TargetHost = "mx.local.test",
            RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null, // self-signed
        });
        _stream = tls;
        StartReading();
    }

    private void StartReading()
    {
        _hasEnded = false;
        _reader = new Thread(Read) { IsBackground = true };
        _reader.Start();
    }

    private void Join() => _reader?.Join(Patience);

    private void Await(int count)
    {
        lock (_gate)
        {
            while (_replies.Count < count && !_hasEnded)
            {
                if (!Monitor.Wait(_gate, Patience))
                {
                    throw new TimeoutException($"{count} replies expected: {string.Join(" / ", _replies)}");
                }
            }
        }
    }

    private void Read()
    {
        List<byte> line = [];
        byte[] buffer = new byte[1]; // octet by octet: what follows the reply to STARTTLS is not ours to read
        byte[] many = new byte[64 * 1024];
        Stream stream = _stream;
        try
        {
            bool isBulk = stream is SslStream;
            while (true)
            {
                byte[] into = isBulk ? many : buffer;
                int received = stream.Read(into);
                if (received == 0)
                {
                    break;
                }

                foreach (byte octet in into.AsSpan(0, received))
                {
                    line.Add(octet);
                    if (octet == '\n')
                    {
                        string text = Encoding.Latin1.GetString([.. line]).TrimEnd('\r', '\n');
                        line.Clear();
                        if (Take(text) && !isBulk)
                        {
                            return;
                        }
                    }
                }
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            if (!_isCut)
            {
                Take("599 reset");
            }
        }
        finally
        {
            lock (_gate)
            {
                _hasEnded = true;
                Monitor.PulseAll(_gate);
            }
        }
    }

    /// <summary>Notes a line if it is a reply; true when TLS follows.</summary>
    private bool Take(string line)
    {
        bool isReply = _isPop3
            ? line.StartsWith('+') || line.StartsWith("-ERR", StringComparison.Ordinal)
            : line.Length < 4 || line[3] != '-';
        if (!isReply)
        {
            return false;
        }

        lock (_gate)
        {
            _replies.Add(line);
            Monitor.PulseAll(_gate);
        }

        return line.StartsWith("220 2.0.0", StringComparison.Ordinal) || line.StartsWith("+OK begin TLS", StringComparison.Ordinal);
    }
}
