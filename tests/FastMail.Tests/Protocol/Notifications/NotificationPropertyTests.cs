using System.Globalization;
using System.Text;
using FastMail.Protocol.Notifications;
using FastMail.Protocol.Smtp;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol.Notifications;

/// <summary>What holds for notifications about any message, whatever the next hop said.</summary>
public sealed class NotificationPropertyTests
{
    private static readonly string[] Pieces =
    [
        "\r\n", ".", "..", "a", " ", "\t", "=", "b\r\n", "\r\n.", "\r\n.\r\n", "\r\n\r\n", "\r\n--=_4F2K", "\u00fc", "\u00c3\u00bc",
        "\0", "From ", "x: y\r\n", "0123456789012345678901234567890123456789",
    ];

    private static readonly string[] Words =
    [
        "550", "5.1.1", "no", " ", "\r\n", "\t", "\u00fc", "\u202e", "\0", "\u001b[2J", ".", "=", "--=_4F2K.abcdef", ":",
        "0123456789012345678901234567890123456789",
    ];

    private static Gen<NotificationRig> Rigs =>
        from original in Gen.Elements(Pieces).ArrayOf().Select(string.Concat)
        from diagnostic in Gen.Elements(Words).ArrayOf().Select(string.Concat)
        from run in Gen.Choose(1, 40)
        from wish in Gen.Elements(DsnReturn.Unsaid, DsnReturn.Full, DsnReturn.Headers)
        from isSmtpUtf8 in Gen.Elements(true, false)
        from leavesHere in Gen.Elements(true, false)
        from sender in Gen.Elements("a@b.test", "\u00e4@b.test")
        from recipient in Gen.Elements("u@far.test", "\u00f6@far.test", "\"a b\"@far.test")
        select new NotificationRig
        {
            Sender = sender,
            Original = original.Length == 0 || original.EndsWith("\r\n", StringComparison.Ordinal) ? original : original + "\r\n",
            Return = wish,
            IsSmtpUtf8 = isSmtpUtf8,
            LeavesHere = leavesHere,
            Recipients = [NotificationRig.Failed(recipient, diagnostic)],
            Run = run,
        };

    [Fact]
    public void The_message_comes_back_as_it_was_however_it_is_cut()
    {
        var writer = new NotificationWriter(); // one for all: nothing of the last may show in the next
        Check(rig =>
        {
            var text = rig.Write(out var facts, writer);
            Assert.Equal((rig with { Run = int.MaxValue }).Write(), text);
            Assert.Equal(text.Length, facts.Octets);
            Assert.Equal(text.Any(c => c > 127), facts.Has8Bit);
            Assert.False(rig.LeavesHere && rig.Sender[0] < 128 && facts.Has8Bit);
            Assert.Equal(text.Split("\r\n").Any(line => line.Length > 998), facts.HasLongLine);
            var returned = PartsOf(text)[2];
            var body = returned.Header.Contains("quoted-printable", StringComparison.Ordinal)
                ? Decode(returned.Body)
                : returned.Body;
            var header = HeaderOf(rig.Original);
            var isRaw = rig.Original.Any(c => c > 127) && !rig.IsSmtpUtf8;
            var isFull = rig.Return != DsnReturn.Headers && !rig.Original.Contains('\0', StringComparison.Ordinal)
                && !(rig.LeavesHere && rig.Sender[0] < 128 && isRaw);
            Assert.Equal(isFull ? rig.Original : header, body);
        });
    }

    [Fact]
    public void Nothing_but_three_parts_of_clean_lines_leaves()
    {
        Check(rig =>
        {
            var text = rig.Write(out var facts);
            Assert.Equal(3, PartsOf(text).Count);
            var plain = text.Replace("\r\n", "", StringComparison.Ordinal);
            Assert.DoesNotContain('\r', plain);
            Assert.DoesNotContain('\n', plain);
            Assert.DoesNotContain('\0', plain);
            Assert.Equal(rig.Sender[0] > 127, facts.NeedsSmtpUtf8);
            var report = PartsOf(text)[1];
            Assert.Equal(2, report.Body.Split("\r\n\r\n").Length);
            foreach (var line in report.Body.Split("\r\n"))
            {
                Assert.InRange(line.Length, 0, 998);
            }
        });
    }

    [PythonFact("email")]
    public void Another_program_reads_them_and_finds_every_required_field()
    {
        var directory = Directory.CreateTempSubdirectory("fastmail-");
        try
        {
            var made = 0;
            Prop.ForAll(Rigs.ToArbitrary(), rig =>
            {
                File.WriteAllBytes(Path.Join(directory.FullName, $"{made++}.eml"), Encoding.Latin1.GetBytes(rig.Write()));
            }).Check(Config.QuickThrowOnFailure.WithMaxTest(200));
            var (code, output) = PythonFactAttribute.Run("Python/notification.py", directory.FullName);
            Assert.True(code == 0, output);
            Assert.Contains("200 judged, 0 bad", output, StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private static void Check(Action<NotificationRig> property) =>
        Prop.ForAll(Rigs.ToArbitrary(), property).Check(Config.QuickThrowOnFailure.WithMaxTest(2000));

    private static string HeaderOf(string original)
    {
        var end = original.StartsWith("\r\n", StringComparison.Ordinal) ? 0 : original.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 2;
        return end < 2 && !original.StartsWith("\r\n", StringComparison.Ordinal) ? original : original[..(end + 2)];
    }

    /// <summary>By RFC 2046 5.1.1: a delimiter is a line, and the line end before it belongs to it.</summary>
    private static List<(string Header, string Body)> PartsOf(string text)
    {
        var pieces = text.Split("\r\n--=_4F2K.abcdef");
        Assert.Equal("--\r\n", pieces[^1]);
        return
        [
            .. pieces[1..^1].Select(piece =>
            {
                Assert.StartsWith("\r\n", piece, StringComparison.Ordinal);
                var end = piece.IndexOf("\r\n\r\n", StringComparison.Ordinal);
                return (piece[2..(end + 2)], piece[(end + 4)..]);
            }),
        ];
    }

    /// <summary>By RFC 2045 6.7, and nothing that it does not allow.</summary>
    private static string Decode(string text)
    {
        var decoded = new StringBuilder();
        foreach (var line in text.Split("\r\n"))
        {
            Assert.InRange(line.Length, 0, 76);
            Assert.False(line.EndsWith(' ') || line.EndsWith('\t'), "blank at the end of an encoded line");
            for (var i = 0; i < line.Length; i++)
            {
                if (line[i] != '=')
                {
                    Assert.InRange(line[i], '\t', '~');
                    decoded.Append(line[i]);
                }
                else if (i < line.Length - 1)
                {
                    decoded.Append((char)byte.Parse(line.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture));
                    i += 2;
                }
            }
            if (!line.EndsWith('='))
            {
                decoded.Append("\r\n");
            }
        }
        return decoded.ToString()[..^2];
    }
}
