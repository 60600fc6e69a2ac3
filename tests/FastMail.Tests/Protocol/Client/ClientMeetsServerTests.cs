using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using FastMail.Protocol.Smtp.Client;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol.Client;

/// <summary>
/// Our client session and our server session, octets between them cut anywhere: what arrives is what was sent, and each
/// recipient is told what has become of it.
/// </summary>
public sealed class ClientMeetsServerTests
{
    private static readonly string[] Lines = ["Subject: x", "", ".", "..", ".x", "text", "\u00e4", "x.", new string('y', 300)];
    private static readonly string[] Senders = ["a@b.test", "", "full@b.test", "\"q q\"@b.test"];
    private static readonly string[] Recipients = ["u@local.test", "v@local.test", "nobody@local.test", "x@elsewhere.test"];

    [Theory]
    [InlineData(SmtpRole.Mx, true)]
    [InlineData(SmtpRole.Mx, false)]
    [InlineData(SmtpRole.Lmtp, false)]
    public void What_arrives_is_what_was_sent_however_it_is_cut(SmtpRole role, bool usesChunking)
    {
        Prop.ForAll(Scenes(), scene => Play(scene, role, usesChunking)).Check(Config.QuickThrowOnFailure.WithMaxTest(400));
    }

    [Theory]
    [InlineData(47)]
    [InlineData(1000)]
    [InlineData(100_000)]
    public void A_thousand_recipients_are_told_without_waiting_for_all_of_them(int piece)
    {
        var server = SmtpRig.Create();
        var client = new ClientRig(ClientRig.Options(), room: 1024) { Quits = true };
        var mail = new TestMail("a@b.test", [.. Enumerable.Repeat("u@local.test", 1000)]);
        client.Queue.Enqueue(mail);
        Converse(client, server, [piece]);
        Assert.Equal(1000, Assert.Single(server.Sink.Stored).Recipients.Length);
        Assert.All(mail.Told, told => Assert.StartsWith("Delivered", told, StringComparison.Ordinal));
    }

    private static bool Play(Scene scene, SmtpRole role, bool usesChunking)
    {
        var server = SmtpRig.Create(role, limits: SessionLimits.Default with { BadCommands = int.MaxValue });
        server.Sink.FullMailbox = null;
        var options = ClientRig.Options(role == SmtpRole.Lmtp) with { UsesChunking = usesChunking };
        var client = new ClientRig(options, scene.IsTight ? 1024 : 4096) { Quits = true };
        var mails = scene.Mails.Select(mail => mail.Make()).ToArray();
        foreach (var mail in mails)
        {
            client.Queue.Enqueue(mail);
        }
        Converse(client, server, scene.Cut);
        Assert.True(client.IsClosed && client.Session.Failure is null, server.Sent + client.Said);
        var expected = mails.Zip(scene.Mails)
            .Where(pair => pair.Second.From != "full@b.test" && pair.Second.Accepted.Length > 0)
            .Select(pair => $"{pair.Second.From} {string.Join(',', pair.Second.Accepted)} {Text(pair.First.Pieces)}");
        var stored = server.Sink.Stored
            .Select(message => $"{message.ReversePath} {string.Join(',', message.Recipients)} {Text([message.Wire])}");
        Assert.Equal(string.Join('|', expected), string.Join('|', stored));
        return mails.Zip(scene.Mails).All(pair => pair.Second.IsToldRight(pair.First));
    }

    private static void Converse(ClientRig client, SmtpRig server, int[] cut)
    {
        var (heard, said, at) = (0, 0, 0);
        server.Feed([]);
        while (true)
        {
            var (sent, words) = (server.Sent, client.Said);
            if (heard == sent.Length && said == words.Length)
            {
                return;
            }
            var length = Math.Min(cut[at++ % cut.Length], sent.Length - heard);
            client.Feed(Encoding.Latin1.GetBytes(sent.Substring(heard, length)));
            heard += length;
            length = Math.Min(cut[at++ % cut.Length], words.Length - said);
            if (!server.IsClosed)
            {
                server.Feed(Encoding.Latin1.GetBytes(words.Substring(said, length)));
            }
            said += length;
        }
    }

    private static string Text(byte[][] pieces) => Encoding.Latin1.GetString([.. pieces.SelectMany(piece => piece)]);

    private static Arbitrary<Scene> Scenes()
    {
        var mail = from lines in Gen.Elements(Lines).ArrayOf()
                   from sender in Gen.Elements(Senders)
                   from recipients in Gen.Elements(Recipients).NonEmptyListOf()
                   from pieces in Gen.Choose(1, 3)
                   from isSlow in Gen.Elements(true, false)
                   select new MailPlan(sender, [.. recipients], lines, pieces, isSlow);
        return (from mails in mail.NonEmptyListOf()
                from cut in Gen.Choose(1, 60).ArrayOf(10)
                from isTight in Gen.Elements(true, false)
                select new Scene([.. mails], cut, isTight)).ToArbitrary();
    }

    private sealed record Scene(MailPlan[] Mails, int[] Cut, bool IsTight);

    private sealed record MailPlan(string From, string[] To, string[] Lines, int Pieces, bool IsSlow)
    {
        public string[] Accepted => [.. To.Where(IsHosted)];

        public TestMail Make()
        {
            // Stuffed as it would lie in the log.
            var stuffed = Lines.Select(line => line.StartsWith('.') ? "." + line : line).ToArray();
            var wire = Encoding.UTF8.GetBytes(string.Concat(stuffed.Append(".").Select(line => line + "\r\n")));
            return new TestMail(From, To)
            {
                Pieces = [.. wire.Chunk((wire.Length + Pieces - 1) / Pieces)],
                IsSlow = IsSlow,
                Is8Bit = Array.Exists(wire, octet => octet > 127),
            };
        }

        public bool IsToldRight(TestMail mail) => To.Zip(mail.Told).All(pair =>
            From == "full@b.test" ? pair.Second!.StartsWith("Deferred Mail host 4.3.1", StringComparison.Ordinal)
            : IsHosted(pair.First) ? pair.Second!.StartsWith("Delivered EndOfData host 2.0.0", StringComparison.Ordinal)
            : pair.Second!.StartsWith("Failed Rcpt host 5.", StringComparison.Ordinal));

        private static bool IsHosted(string path) => path is "u@local.test" or "v@local.test";
    }
}
