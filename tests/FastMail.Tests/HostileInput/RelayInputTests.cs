using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.Net;
using FastMail.Protocol.Sasl;
using FastMail.Protocol.Smtp;
using FastMail.Protocol.Smtp.Client;
using FastMail.Tests.Net;
using FastMail.Tests.Protocol;
using FastMail.Tests.Protocol.Client;
using FastMail.Tests.Server;
using FastMail.Tests.Server.Defence;
using Xunit;
using OutgoingHandshakes = FastMail.Net.TlsClient;

namespace FastMail.Tests.HostileInput;

/// <summary>
/// The rows of badinputs.tsv that are about us as a client: hosts that say what they should not, over real connections
/// and at each step of a dialog, and content that must not leave.
/// </summary>
public sealed class RelayInputTests : IDisposable
{
    private static readonly string[] Steps =
    [
        "220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 kept\r\n",
    ];

    private readonly EventLoop _loop = EventLoop.Start(
        new EventLoopOptions { Failed = (_, exception) => throw exception, Thread = LoopThread.Own }, TimeProvider.System);

    public void Dispose() => _loop.Dispose();

    public static TheoryData<string, int> Replies()
    {
        TheoryData<string, int> rows = [];
        foreach (HostileRow row in HostileRow.All.Where(row => row.Id.StartsWith("OUT-reply", StringComparison.Ordinal)))
        {
            for (int step = 0; step < Steps.Length; step++)
            {
                rows.Add(row.Id, step);
            }
        }

        return rows;
    }

    [Theory]
    [MemberData(nameof(Replies))]
    public void A_reply_that_is_none_defers_the_mail_and_ends_the_connection(string id, int step)
    {
        TestMail mail = new("a@b.test", "u@c.test");
        using FakeHost host = new([.. Steps[..step], Row(id), .. Steps[(step + 1)..]]);
        RelayCaller caller = RelayCaller.Play(_loop, host.EndPoint, ClientRig.Options(), mail);
        bool isHarmless = id == "OUT-reply-nul" && step is > 0 and not 4;
        string told = mail.Told[0] ?? Text(caller.Failure!);
        if (isHarmless)
        {
            Assert.StartsWith("Delivered EndOfData host 2.0.0", told, StringComparison.Ordinal);
            Assert.True(step < 5 || told.EndsWith(@"a\x00b", StringComparison.Ordinal), told);
        }
        else if (id == "OUT-reply-dsn-inject")
        {
            // The refusal counts, on one line; what follows it is no reply, and no line of a report either.
            Assert.DoesNotContain('\n', told);
            Assert.DoesNotContain("Delivered", told, StringComparison.Ordinal);
            Assert.NotNull(caller.Failure);
        }
        else
        {
            Assert.StartsWith("Deferred", told, StringComparison.Ordinal);
            Assert.NotNull(caller.Failure);
        }

        Assert.Equal((0, 0), (_loop.Slabs.Rented, _loop.Outgoings.Rented));
    }

    [Fact]
    public void Octets_between_the_go_ahead_and_the_handshake_end_the_connection()
    {
        using OutgoingHandshakes handshakes = new(1, TimeSpan.FromSeconds(10));
        OutgoingTls tls = new(handshakes, "mx.test", isImplicit: false);
        string injected = Row("TLS-resp-inject-client").Replace("<TLS>", "", StringComparison.Ordinal);
        using FakeHost host = new(["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", injected]);
        TestMail mail = new("a@b.test", "u@c.test");
        RelayCaller caller = RelayCaller.Play(_loop, host.EndPoint, ClientRig.Options(tls: TlsPolicy.May), mail, tls);
        Assert.Equal(ClientPhase.StartTls, caller.Failure!.Phase);
        Assert.Equal(DeliveryOutcome.Deferred, caller.Failure.Outcome);
        Assert.DoesNotContain("MAIL", host.Heard, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(TlsPolicy.May)]
    [InlineData(TlsPolicy.Encrypt)]
    [InlineData(TlsPolicy.Verify)]
    public void A_keyword_that_was_taken_off_the_list_defers_the_mail_where_TLS_must_be(TlsPolicy policy)
    {
        using FakeHost host = new(["220 mx\r\n", Row("TLS-strip-client"), "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 kept\r\n"]);
        TestMail mail = new("a@b.test", "u@c.test");
        RelayCaller caller = RelayCaller.Play(_loop, host.EndPoint, ClientRig.Options(tls: policy), mail);
        Assert.Equal(policy == TlsPolicy.May, mail.Told[0] is not null);
        Assert.Equal(policy == TlsPolicy.May ? null : "4.7.4", caller.Failure?.Status.ToString());
        Assert.Equal(policy == TlsPolicy.May, host.Heard.Contains("MAIL", StringComparison.Ordinal));
    }

    [Fact]
    public void A_host_that_asks_for_more_rounds_than_fit_a_day_is_left()
    {
        string first = Row("AUTH-scram-iter-dos");
        Assert.Contains("i=4294967295", first, StringComparison.Ordinal);
        string challenge = Convert.ToBase64String(
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4294967295"u8);
        using FakeHost host = new(["220 mx\r\n", "250-mx\r\n250 AUTH SCRAM-SHA-256\r\n", $"334 {challenge}\r\n"]);
        SmtpClientOptions options = ClientRig.Options() with { Credentials = new ClientCredentials("user"u8, "pencil"u8) };
        RelayCaller caller = RelayCaller.Play(_loop, host.EndPoint, options, new TestMail("a@b.test", "u@c.test"));
        Assert.Equal((ClientPhase.Auth, DeliveryOutcome.Deferred), (caller.Failure!.Phase, caller.Failure.Outcome));
    }

    [Fact]
    public void A_host_that_closes_behind_354_defers_everybody()
    {
        Assert.Contains("421", Row("OUT-421-mid"), StringComparison.Ordinal);
        using FakeHost host = new([.. Steps[..5], "421 4.3.2 shutting down\r\n"]);
        TestMail mail = new("a@b.test", "u@c.test");
        RelayCaller.Play(_loop, host.EndPoint, ClientRig.Options(), mail);
        Assert.Equal("Deferred EndOfData host 4.3.2: 421 4.3.2 shutting down", mail.Told[0]);
    }

    public static TheoryData<string> Contents() =>
        [.. HostileRow.All.Where(row => row.State == "relay-out").Select(row => row.Id)];

    [Theory]
    [MemberData(nameof(Contents))]
    public async Task Content_with_stray_line_ends_is_refused_at_the_door(string id)
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        using Socket client = fixture.Connect("mx");
        Talk.Send(client, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n");
        Talk.Send(client, Row(id) + "\r\n.\r\nQUIT\r\n");
        string replies = Talk.ReadToEnd(client);
        Assert.Matches(@"550 5\.(5\.2|6\.0)", replies);
        Assert.DoesNotContain("250 2.0.0", replies, StringComparison.Ordinal);
    }

    /// <summary>And if such content lay in the log after all, it would not leave.</summary>
    [Theory]
    [MemberData(nameof(Contents))]
    public void Content_with_stray_line_ends_does_not_leave(string id)
    {
        using FakeHost host = new(Steps);
        TestMail mail = new("a@b.test", "u@c.test") { Pieces = [Encoding.Latin1.GetBytes(Row(id) + "\r\n.\r\n")] };
        RelayCaller.Play(_loop, host.EndPoint, ClientRig.Options(), mail);
        Assert.StartsWith("Failed Data own 5.6.0", mail.Told[0], StringComparison.Ordinal);
        Assert.DoesNotContain("smuggled", host.Heard, StringComparison.Ordinal);
        Assert.DoesNotMatch("\r[^\n]|[^\r]\n|\0", host.Heard);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_dot_on_a_line_of_a_chunk_arrives_as_that(bool usesChunking)
    {
        string row = Row("SMUG-OUT-bdat-dot"); // its length is that of its content and of what an attacker wants behind it
        SmtpRig receiver = SmtpRig.Create();
        string chunk = row[(row.IndexOf('\n', StringComparison.Ordinal) + 1)..];
        receiver.Feed(Encoding.Latin1.GetBytes(
            $"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nBDAT {chunk.Length} LAST\r\n{chunk}"));
        byte[] stored = Assert.Single(receiver.Sink.Stored).Wire;
        Assert.Contains("\r\n..\r\n", Encoding.Latin1.GetString(stored), StringComparison.Ordinal);

        SmtpRig next = SmtpRig.Create();
        ClientRig relay = new(ClientRig.Options() with { UsesChunking = usesChunking }, room: 4096) { Quits = true };
        relay.Queue.Enqueue(new TestMail("a@b.test", "u@local.test") { Pieces = [stored] });
        int heard = 0;
        int said = 0;
        next.Feed([]);
        while (heard < next.Sent.Length || said < relay.Said.Length)
        {
            string reply = next.Sent[heard..];
            heard = next.Sent.Length;
            relay.Feed(reply);
            string words = relay.Said[said..];
            said = relay.Said.Length;
            next.Feed(Encoding.Latin1.GetBytes(words));
        }

        Assert.Equal(usesChunking, relay.Said.Contains("BDAT", StringComparison.Ordinal));
        Assert.Contains(usesChunking ? "\r\n.\r\n" : "\r\n..\r\n", relay.Said, StringComparison.Ordinal);
        Assert.Equal(stored, Assert.Single(next.Sink.Stored).Wire);
    }

    [Theory]
    [InlineData(48, "BDAT 144 LAST\r\n.\r\n")]
    [InlineData(49, "DATA\r\n")]
    public void Content_of_hardly_anything_but_dots_goes_by_data(int dots, string said)
    {
        byte[] wire = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("..\r\n", dots)) + ".\r\n");
        ClientRig relay = new(ClientRig.Options(), room: 4096);
        relay.Queue.Enqueue(new TestMail("a@b.test", "u@local.test") { Pieces = [wire] });
        relay.Feed("220 mx\r\n250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
        Assert.Contains("RCPT TO:<u@local.test>\r\n" + said, relay.Said, StringComparison.Ordinal);
    }

    private static string Row(string id) =>
        Encoding.Latin1.GetString(Script.Octets(HostileRow.All.Single(row => row.Id == id).Octets
            .Replace("<as text>", "", StringComparison.Ordinal)));

    private static string Text(SessionFailure failure)
    {
        byte[] text = new byte[512];
        return $"{failure.Outcome} {failure.Phase}: " + Encoding.ASCII.GetString(text, 0, failure.WriteText(text));
    }

    /// <summary>Says one thing after the other, each when the client has said something, and then waits for its end.</summary>
    private sealed class FakeHost : IDisposable
    {
        private readonly Socket _door = ConnectTests.Door();
        private readonly StringBuilder _heard = new();
        private readonly Thread _thread;

        public FakeHost(string[] replies)
        {
            _thread = new Thread(() => Serve(replies)) { IsBackground = true };
            _thread.Start();
        }

        public IPEndPoint EndPoint => (IPEndPoint)_door.LocalEndPoint!;

        /// <summary>Everything the client has said; waits for the end of its connection.</summary>
        public string Heard
        {
            get
            {
                Assert.True(_thread.Join(LoopFixture.Patience), "the host still waits");
                return _heard.ToString();
            }
        }

        public void Dispose() => _door.Dispose();

        private void Serve(string[] replies)
        {
            using Socket peer = _door.Accept();
            byte[] buffer = new byte[64 * 1024];
            int commands = 0; // that the client has said; content is one
            bool isContent = false;
            string unread = "";
            try
            {
                for (int step = 0; ; step++)
                {
                    if (step > 0)
                    {
                        while (step > commands)
                        {
                            int received = peer.Receive(buffer);
                            if (received == 0)
                            {
                                return;
                            }

                            string text = Encoding.Latin1.GetString(buffer, 0, received);
                            _heard.Append(text);
                            unread += text;
                            commands += Count(ref unread, ref isContent);
                        }
                    }

                    if (step < replies.Length)
                    {
                        peer.Send(Encoding.Latin1.GetBytes(replies[step]));
                        isContent |= replies[step].StartsWith("354", StringComparison.Ordinal);
                    }
                }
            }
            catch (SocketException)
            {
                // The client has cut the connection, as it should.
            }
        }

        private static int Count(ref string unread, ref bool isContent)
        {
            int count = 0;
            string end = isContent ? "\r\n.\r\n" : "\r\n";
            for (int at; (at = unread.IndexOf(end, StringComparison.Ordinal)) >= 0; end = "\r\n")
            {
                unread = unread[(at + end.Length)..];
                isContent = false;
                count++;
            }

            return count;
        }
    }
}
