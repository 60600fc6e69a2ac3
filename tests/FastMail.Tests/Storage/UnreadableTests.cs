using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>Pages of a segment that the disk cannot read, which is not the same as reading something else there.</summary>
public sealed class UnreadableTests
{
    private const int PageBytes = 4096;

    private static readonly string[] Acknowledged =
        [.. Enumerable.Range(0, 8).Select(i => new string((char)('a' + i), 9_000))];

    [Fact]
    public void A_page_that_cannot_be_read_costs_the_body_in_it_or_the_start_and_never_mail()
    {
        using LogScene crashed = Crashed();
        int starts = 0;
        int refusals = 0;
        int damaged = 0;
        for (long page = 0; page < new FileInfo(crashed.FirstSegment).Length; page += PageBytes)
        {
            ScriptedDisk disk = new() { BadPage = page };
            using LogScene scene = CopyOf(crashed, disk);
            byte[] before = File.ReadAllBytes(scene.FirstSegment);
            if (Failure(scene) is { } failure)
            {
                refusals++;
                Assert.Contains(
                    page == 0 ? scene.FirstSegment : $"the page at offset {page}:", failure.Message,
                    StringComparison.Ordinal);
                Assert.Equal(before, File.ReadAllBytes(scene.FirstSegment));
            }
            else
            {
                starts++;
                string[] bodies = scene.Bodies(1);
                Assert.Equal(Acknowledged.Length, bodies.Length);
                Assert.All(bodies.Zip(Acknowledged), b => Assert.True(b.First == b.Second || IsMarked(b.First)));
                damaged += bodies.Count(IsMarked);
                Assert.InRange(bodies.Count(IsMarked), 1, 2);
                scene.Close();
            }

            // The disk can read it again, or an operator has given it up.
            disk.BadPage = -1;
            scene.Open();
            Assert.Equal(Acknowledged, scene.Bodies(1));
            scene.Close();
            Overwrite(scene.FirstSegment, page);
            scene.Open();
            Assert.All(scene.Bodies(1), body => Assert.True(Acknowledged.Contains(body) || IsMarked(body)));
        }

        Assert.InRange(starts, 7, 14); // of 72,000 octets in 18 pages; each page with a record's start is needed
        Assert.True(refusals > 10, $"{refusals}");
        Assert.True(damaged >= starts);
    }

    [Fact]
    public void Who_looks_tells_of_each_page_that_cannot_be_read_and_goes_on_behind_it()
    {
        using LogScene crashed = Crashed();
        Guid storeId;
        using (LogInspector log = LogInspector.Open(crashed.Directory))
        {
            storeId = log.StoreId;
        }

        for (long page = 0; page < new FileInfo(crashed.FirstSegment).Length; page += PageBytes)
        {
            ScriptedDisk disk = new() { BadPage = page };
            using InspectedSegment segment = InspectedSegment.Open(
                crashed.FirstSegment, storeId, new LogChain(isSeqKnown: true), isLast: true, disk: disk);
            LogFinding[] findings = [.. segment.Read(checkBodies: true)];
            LogProblem[] problems = [.. findings.OfType<LogProblem>().Where(p => p.Kind != LogProblemKind.TornTail)];
            Assert.NotEmpty(problems);
            Assert.All(problems, p => Assert.True(p.IsDamage));
            Assert.All(problems, p => Assert.Contains("the disk cannot read the", p.Text, StringComparison.Ordinal));
            int messages = findings.OfType<LogRecord>().Count(r => r.Type == RecordType.Message);

            // Nine records; the proof of those in the last pages may stand in the same page.
            Assert.True(messages >= (page is 0 ? 0 : page < 48_000 ? 8 : 5), $"{messages} messages, page {page}");
        }
    }

    [Fact]
    public void A_damaged_range_is_kept_with_zeros_where_it_cannot_be_read()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        byte[] wire = [.. Enumerable.Repeat((byte)'x', 20_000), .. "\r\n.\r\n"u8];
        PendingMessage hit = scene.Build(wire, 1);
        scene.Append(hit);
        while (Directory.GetFiles(scene.LogDirectory, "*.seg").Length == 1)
        {
            scene.Deliver(new string('y', 20_000), 1); // behind a last segment nothing proves as much
        }

        scene.Close();
        byte[] content = File.ReadAllBytes(scene.FirstSegment);
        content[hit.Lsn + 70] ^= 1; // the header still tells how long the record is
        File.WriteAllBytes(scene.FirstSegment, content);
        ScriptedDisk disk = new() { BadPage = ((long)hit.Lsn + 8_000) & -PageBytes };
        MailLog.Open(scene.Directory, scene.Options, disk, scene.Clock, new FixedRandom(), scene).Dispose();
        byte[] kept = File.ReadAllBytes(
            Path.Join(scene.Directory, "quarantine", $"{hit.Lsn:x16}-{hit.Bytes}.bin"));
        byte[] expected = content[(int)hit.Lsn..(int)(hit.Lsn + (ulong)hit.Bytes)];
        expected.AsSpan((int)(disk.BadPage - (long)hit.Lsn), PageBytes).Clear();
        Assert.Equal(expected, kept);
    }

    /// <summary>Eight acknowledged messages; of the group of the last two there is no proof.</summary>
    private static LogScene Crashed()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        foreach (string body in Acknowledged[..6])
        {
            scene.Deliver(body, 1);
        }

        return scene.CrashAfterGroup(scene.Build(Acknowledged[6], 1), scene.Build(Acknowledged[7], 1));
    }

    private static LogScene CopyOf(LogScene scene, ScriptedDisk disk)
    {
        LogScene copy = new(disk, scene.Options);
        _ = Directory.CreateDirectory(copy.LogDirectory);
        foreach ((string name, byte[] content) in scene.Files())
        {
            File.WriteAllBytes(Path.Join(copy.Directory, name), content);
        }

        return copy;
    }

    private static bool IsMarked(string body)
    {
        return body is "!Damaged" or "!Unavailable";
    }

    private static IOException? Failure(LogScene scene)
    {
        try
        {
            scene.Open();
            return null;
        }
        catch (IOException e)
        {
            return e;
        }
    }

    private static void Overwrite(string path, long page)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite);
        file.Position = page;
        file.Write(new byte[PageBytes]);
    }
}
