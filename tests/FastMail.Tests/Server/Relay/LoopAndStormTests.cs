using System.Net.Sockets;
using System.Text;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>Mail that goes in circles, and senders who make others pay for it.</summary>
public sealed class LoopAndStormTests
{
    private const string Trusted = "relay.from=127.0.0.0/8";

    [Fact]
    public async Task Mail_between_two_servers_that_send_it_to_each_other_comes_back_once_after_a_hundred_hops()
    {
        await using Ring ring = await Ring.StartAsync();
        Assert.StartsWith("250", RelayTests.Send(ring.First, "mx", "u@local.test", "b@relay.test"), StringComparison.Ordinal);
        await RelayTests.Until(() => ring.Notices.Count > 0);
        await ring.WhenQuietAsync();
        string notice = Assert.Single(ring.Notices);
        Assert.Contains("Status: 5.4.6", notice, StringComparison.Ordinal);
        Assert.Contains("Action: failed", notice, StringComparison.Ordinal);
        string original = notice[notice.LastIndexOf("Content-Type: ", StringComparison.Ordinal)..];
        Assert.InRange(original.Split("\nReceived: ").Length - 1, 2, 101); // with that of the server which could not pass it on
    }

    [Fact]
    public async Task A_notification_that_goes_in_circles_ends_without_another()
    {
        await using Ring ring = await Ring.StartAsync();
        // Its sender is on the ring too: so is the notification, from the null reverse-path.
        RelayTests.Send(ring.First, "mx", "a@relay.test", "b@relay.test");
        long records = -1;
        await RelayTests.Until(() =>
        {
            bool isOver = ring.Records > 300 && ring.Records == records && ring.IsQuiet;
            records = ring.Records;
            return isOver;
        });
        Assert.Empty(ring.Notices);
    }

    [Fact]
    public async Task A_hundred_thousand_messages_to_nobody_with_forged_senders_send_not_one_notification()
    {
        const int Clients = 4;
        const int Each = 25_000;
        using var victim = new ScriptedHost();
        await using ServerFixture fixture = await RelayTests.StartAsync(
            victim, "route.table=*=127.0.0.1:{port}", "limits.errors=100000", "limits.errors_before_delay=100000",
            "limits.idle_commands=100000");
        await Task.WhenAll(Enumerable.Range(0, Clients).Select(client => Task.Run(() => Storm(fixture, client, Each))));
        Assert.Equal(0, fixture.Log.Queue.Recipients);
        Assert.Equal(0, fixture.Log.Statistics.Records);
        Assert.Equal(0, victim.Connections);
    }

    private static void Storm(ServerFixture fixture, int client, int count)
    {
        using Socket socket = fixture.Connect("mx");
        using var stream = new NetworkStream(socket);
        using var reader = new StreamReader(stream, Encoding.ASCII);
        Talk.Send(socket, "HELO storm.test\r\n");
        Assert.StartsWith("220", reader.ReadLine(), StringComparison.Ordinal);
        Assert.StartsWith("250", reader.ReadLine(), StringComparison.Ordinal);
        for (int sent = 0; sent < count; sent += 250)
        {
            var commands = new StringBuilder();
            for (int i = sent; i < sent + 250; i++)
            {
                commands.Append($"MAIL FROM:<forged{client}.{i}@victim{i % 97}.test>\r\nRCPT TO:<nobody{i}@local.test>\r\nRSET\r\n");
            }

            Talk.Send(socket, commands.ToString());
            for (int i = 0; i < 250; i++)
            {
                Assert.StartsWith("250 2.1.0", reader.ReadLine(), StringComparison.Ordinal);
                Assert.StartsWith("550 5.1.1", reader.ReadLine(), StringComparison.Ordinal);
                Assert.StartsWith("250 2.0.0", reader.ReadLine(), StringComparison.Ordinal);
            }
        }
    }

    /// <summary>Two servers whose routes for relay.test name each other; u@local.test lives at both.</summary>
    private sealed class Ring : IAsyncDisposable
    {
        private Ring(ServerFixture first, ServerFixture second) => (First, Second) = (first, second);

        public ServerFixture First { get; }

        public ServerFixture Second { get; }

        public bool IsQuiet => First.Log.Queue.Recipients + Second.Log.Queue.Recipients == 0;

        public long Records => (long)(First.Log.Statistics.Records + Second.Log.Statistics.Records);

        /// <summary>What u@local.test has got at either of them.</summary>
        public List<string> Notices =>
            [.. ((ServerFixture[])[First, Second]).SelectMany(All)];

        public static async Task<Ring> StartAsync()
        {
            using var listener = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
            listener.Start();
            int port = ((System.Net.IPEndPoint)listener.LocalEndpoint).Port;
            listener.Stop(); // whoever is second takes it: each has to know the other's port
            ServerFixture first = await ServerFixture.StartAsync(
                Trusted, "relay.retry_min=1s", "server.hostname=first.test", $"route.table=relay.test=127.0.0.1:{port}");
            ServerFixture second = await ServerFixture.StartAsync(
                Trusted, "relay.retry_min=1s", "server.hostname=second.test", $"listen.mx=127.0.0.1:{port}",
                $"route.table=relay.test=127.0.0.1:{first.Server.Listeners.EndPointOf("mx")!.Port}");
            return new Ring(first, second);
        }

        public async Task WhenQuietAsync()
        {
            long before;
            do
            {
                before = Records;
                await Task.Delay(500);
            }
            while (Records != before || !IsQuiet);
        }

        public async ValueTask DisposeAsync()
        {
            await First.DisposeAsync();
            await Second.DisposeAsync();
        }

        private static IEnumerable<string> All(ServerFixture fixture)
        {
            using Socket client = fixture.Connect("pop3");
            Talk.Send(client, $"USER u@local.test\r\nPASS {ServerFixture.Password}\r\nSTAT\r\nRETR 1\r\nRETR 2\r\nQUIT\r\n");
            string dialog = Talk.ReadToEnd(client);
            return dialog.Split("\r\nReturn-Path: <>").Skip(1);
        }
    }
}
