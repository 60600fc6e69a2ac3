using System.Text;
using System.Text.Json;
using FastMail.Server.Cli;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Server;

/// <summary>How findings of a log inspection are shown.</summary>
public sealed class RecordTextTests
{
    [Fact]
    public void What_strangers_sent_can_neither_break_the_line_nor_drive_the_terminal()
    {
        LogRecord record = Message("h\u001b[2J\r\nx \u202e\u009b\u00e9\u2028", @"a \@example.org");
        string line = RecordText.Of(record);
        Assert.DoesNotContain(line, c => char.IsControl(c) || c is '\u202e' or '\u2028');
        Assert.EndsWith(@" helo=h\u001b[2J\u000d\u000ax\u0020\u202e\u009bé\u2028", line, StringComparison.Ordinal);
        Assert.Contains(@" from=<a\u0020\\@example.org> ", line, StringComparison.Ordinal);

        string json = LogJson.Line(record);
        Assert.DoesNotContain('\n', json);
        using JsonDocument parsed = JsonDocument.Parse(json);
        Assert.Equal(@"a \@example.org", parsed.RootElement.GetProperty("reversePath").GetString());
        Assert.Equal("h\u001b[2J\r\nx \u202e\u009b\u00e9\u2028", parsed.RootElement.GetProperty("helo").GetString());
    }

    [Theory]
    [InlineData(LogProblemKind.TornTail, "torn-tail")]
    [InlineData(LogProblemKind.SegmentHeader, "segment-header")]
    [InlineData(LogProblemKind.Body, "body")]
    public void A_kind_of_problem_has_one_name_everywhere(LogProblemKind kind, string name)
    {
        LogProblem problem = new("/p/0-0.seg", 64, 0x1040, kind, 96, "why");
        string word = kind == LogProblemKind.TornTail ? "torn" : "damaged";
        Assert.Equal($"{word} /p/0-0.seg offset 64 lsn 0x1040 bytes 96 {name}: why", RecordText.Of(problem));
        using JsonDocument parsed = JsonDocument.Parse(LogJson.Line(problem));
        Assert.Equal(name, parsed.RootElement.GetProperty("problem").GetString());
    }

    private static LogRecord Message(string helo, string reversePath)
    {
        byte[] meta = [.. Field(MetaType.ReversePath, reversePath), .. Field(MetaType.Helo, helo)];
        RecordHeader header = new() { Type = RecordType.Message, Lsn = 0x1000, Seq = 1, MetaBytes = (uint)meta.Length };
        return new LogRecord("/p/0-0.seg", 4096, header, meta);
    }

    private static byte[] Field(MetaType type, string text)
    {
        byte[] value = Encoding.UTF8.GetBytes(text);
        byte[] field = new byte[MetaReader.FieldHeaderBytes + value.Length];
        MetaReader.WriteFieldHeader(field, type, value.Length);
        value.CopyTo(field, MetaReader.FieldHeaderBytes);
        return field;
    }
}
