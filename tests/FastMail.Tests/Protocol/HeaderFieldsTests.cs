using System.Text;
using FastMail.Protocol.Smtp;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>What the header section tells while it goes by, however it is cut.</summary>
public sealed class HeaderFieldsTests
{
    private static readonly string[] Lines =
    [
        "Received: x\r\n", "RECEIVED: y\r\n", "received:\r\n", " Received: folded\r\n", "X-Received: no\r\n",
        "Received-SPF: no\r\n", "Date: d\r\n", "Dates: no\r\n", "Message-ID: <a@b>\r\n", "Message-IDs: no\r\n",
        "Subject: Date: no\r\n", "x\r\n", ":\r\n", "\tcontinued\r\n", "Message-I\r\n", "D\r\n",
    ];

    [Fact]
    public void Fields_are_found_wherever_the_segments_end()
    {
        var cases = Gen.Elements(Lines).ArrayOf().Zip(Gen.Choose(1, 30)).ToArbitrary();
        Prop.ForAll(cases, pair =>
        {
            var text = Encoding.ASCII.GetBytes(string.Concat(pair.Item1));
            var fields = default(HeaderFields);
            for (var at = 0; at < text.Length; at += pair.Item2)
            {
                fields.Take(text.AsSpan(at, Math.Min(pair.Item2, text.Length - at)));
            }
            return fields.Received == pair.Item1.Count(l => Begins(l, "received:"))
                && fields.HasDate == pair.Item1.Any(l => Begins(l, "date:"))
                && fields.HasMessageId == pair.Item1.Any(l => Begins(l, "message-id:"));
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Theory]
    [InlineData(100, "250 2.0.0 Ok: queued as T1\r\n")]
    [InlineData(101, "554 5.4.6 Too many hops, this message goes in circles\r\n")]
    public void A_message_with_more_than_100_Received_fields_goes_in_circles(int hops, string reply)
    {
        var header = string.Concat(Enumerable.Repeat("Received: from a by b; x\r\n", hops));
        // In the body it is only text.
        var body = "Subject: x\r\n\r\n" + header + ".\r\n";
        foreach (var segment in new[] { 7, 100_000 })
        {
            var rig = SmtpRig.Create();
            rig.Feed([]);
            rig.Feed("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n"u8);
            rig.FeedSplit(Encoding.ASCII.GetBytes(header + body), segment);
            Assert.EndsWith("354 End data with <CR><LF>.<CR><LF>\r\n" + reply, rig.Sent, StringComparison.Ordinal);
        }
    }

    private static bool Begins(string line, string name) =>
        line.StartsWith(name, StringComparison.OrdinalIgnoreCase);
}
