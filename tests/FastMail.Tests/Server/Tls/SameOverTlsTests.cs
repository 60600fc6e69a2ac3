using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using FastMail.Tests.Net.Tls;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Server.Tls;

/// <summary>A dialog means the same in the clear and over TLS, however its octets are cut into records and segments.</summary>
public sealed class SameOverTlsTests
{
    private static readonly Regex QueueId = new("queued as [0-9A-Z]+", RegexOptions.NonBacktracking);

    [Fact]
    public async Task The_same_dialog_over_plain_and_TLS_gives_equal_replies_and_equal_stored_octets()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
        {
            byte[] dialog = MakeDialog(new Random(seed));
            string plain = PlayPlain(fixture, dialog, seed);
            string tls = PlayTls(fixture, dialog, seed).GetAwaiter().GetResult();
            return (plain == tls).Label($"seed {seed}: {plain} / {tls}");
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(25));

        string[] stored = [.. await CollectAsync(fixture, "pop3"), .. await CollectAsync(fixture, "pop3s")];
        Assert.True(stored.Length >= 40, $"only {stored.Length} messages");
        string[] inClear = stored[..(stored.Length / 2)];
        Assert.Equal(inClear, stored[(stored.Length / 2)..]); // collected in the clear and over TLS
        ILookup<bool, string> sent = inClear.ToLookup(m => m.Contains(" with ESMTPS id ", StringComparison.Ordinal), ContentOf);
        Assert.Equal(sent[false], sent[true], StringComparer.Ordinal); // received in the clear and over TLS
    }

    private static string PlayPlain(ServerFixture fixture, byte[] dialog, int seed)
    {
        using var stream = new NetworkStream(fixture.Connect("mx"), ownsSocket: true);
        byte[] buffer = new byte[4096];
        Dialog.Say(stream, default, "\r\n"u8, buffer);
        return Play(stream, dialog, new Random(seed));
    }

    private static async Task<string> PlayTls(ServerFixture fixture, byte[] dialog, int seed)
    {
        var random = new Random(~seed);
        int segment = random.Next(3) == 0 ? random.Next(1, 50) : int.MaxValue;
        await using Stream stream = await fixture.ConnectTlsAsync("mx", "STARTTLS\r\n", t => new Splitting(t, segment));
        return Play(stream, dialog, random);
    }

    /// <summary>EHLO first, whose reply tells the two apart, then the dialog in random pieces, to its end.</summary>
    private static string Play(Stream stream, byte[] dialog, Random random)
    {
        byte[] buffer = new byte[64 * 1024];
        Dialog.Say(stream, "EHLO c.test\r\n"u8, "250 ENHANCEDSTATUSCODES\r\n"u8, buffer);
        for (int at = 0; at < dialog.Length;)
        {
            int piece = Math.Min(random.Next(1, random.Next(2) == 0 ? 20 : 40_000), dialog.Length - at);
            stream.Write(dialog.AsSpan(at, piece));
            at += piece;
        }

        int length = 0;
        for (int received; (received = stream.Read(buffer.AsSpan(length))) > 0; length += received)
        {
        }

        return QueueId.Replace(Encoding.ASCII.GetString(buffer, 0, length), "queued");
    }

    /// <summary>Mail by DATA and by BDAT, with sizes around those of records and slabs, and things that are refused.</summary>
    private static byte[] MakeDialog(Random random)
    {
        var dialog = new MemoryStream();
        void Say(string text) => dialog.Write(Encoding.Latin1.GetBytes(text));
        int parts = random.Next(1, 5);
        for (int part = 0; part < parts; part++)
        {
            int[] sizes = [1, 500, 16_000, 16_384, 16_385, 33_000, 200_000];
            string content = MakeContent(random, sizes[random.Next(sizes.Length)]);
            Say("MAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\n");
            switch (random.Next(6))
            {
                case 0:
                    Say("STARTTLS x\r\nRCPT TO:<x@relay.test>\r\nFOO\r\nRSET\r\n");
                    break;
                case 1 or 2:
                    string wire = content.Replace("\r\n.", "\r\n..", StringComparison.Ordinal);
                    Say($"DATA\r\n{(wire.StartsWith('.') ? "." : "")}{wire}.\r\n");
                    break;
                default:
                    for (int at = 0; at < content.Length;)
                    {
                        int chunk = Math.Min(random.Next(1, 20_000), content.Length - at);
                        Say($"BDAT {chunk}\r\n{content.AsSpan(at, chunk)}");
                        at += chunk;
                    }

                    Say("BDAT 0 LAST\r\n");
                    break;
            }
        }

        Say("QUIT\r\n");
        return dialog.ToArray();
    }

    private static string MakeContent(Random random, int octets)
    {
        var content = new StringBuilder("Subject: x\r\n\r\n");
        while (content.Length < octets)
        {
            content.Append(random.Next(10) == 0 ? "." : "").Append((char)random.Next('a', 'z'), random.Next(0, 900)).Append("\r\n");
        }

        return content.ToString();
    }

    private static async Task<List<string>> CollectAsync(ServerFixture fixture, string role)
    {
        byte[] buffer = new byte[1 << 20];
        await using Stream stream = role == "pop3s"
            ? await fixture.ConnectTlsAsync(role)
            : new NetworkStream(fixture.Connect(role), ownsSocket: true);
        if (role == "pop3")
        {
            Dialog.Say(stream, default, "\r\n"u8, buffer);
        }

        string Ask(string said, string end) => Encoding.Latin1.GetString(
            buffer, 0, Dialog.Say(stream, Encoding.ASCII.GetBytes(said), Encoding.ASCII.GetBytes(end), buffer));
        Ask("USER u@local.test\r\n", "\r\n");
        string greeting = Ask($"PASS {ServerFixture.Password}\r\n", "\r\n"); // +OK maildrop has N messages (M octets)
        int count = int.Parse(greeting.Split(' ')[3], System.Globalization.CultureInfo.InvariantCulture);
        List<string> messages = [];
        for (int number = 1; number <= count; number++)
        {
            messages.Add(Ask($"RETR {number}\r\n", "\r\n.\r\n"));
        }

        Ask("QUIT\r\n", "\r\n");
        return messages;
    }

    private static string ContentOf(string message) => message[message.IndexOf("\r\nSubject: ", StringComparison.Ordinal)..];
}
