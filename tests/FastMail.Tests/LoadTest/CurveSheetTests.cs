using FastMail.LoadTest.Cli;
using FastMail.LoadTest.Report;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>What the script of curves prints, read and drawn.</summary>
public sealed class CurveSheetTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory().FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Each_measure_becomes_a_curve_of_the_page()
    {
        string sheet = FileWith(
            """
            {"label": "curves", "curves": [{"name": "sessions", "title": "Sessions", "size": "connections", "measures": [
              {"name": "<rate>", "points": [{"at": 1, "value": 50, "ofFirst": 1}, {"at": 1000, "value": 75, "ofFirst": 1.5}]},
              {"name": "CPU", "points": [{"at": 1, "value": 0, "ofFirst": null}]}]}]}
            """);
        Curve[] curves = CurveSheet.Read(sheet)!;
        Assert.Equal("<rate> CPU", string.Join(' ', curves.Select(curve => curve.Measure)));
        Assert.Equal((1000, 75), curves[0].Points[1]);
        string page = Path.Combine(_folder, "page.html");
        Assert.Equal(ExitCode.Ok, CommandLineTests.Run($"report {sheet} -o {page}"));
        string html = File.ReadAllText(page);
        Assert.Contains("<td>1,000</td><td>75</td><td>1.50</td>", html, StringComparison.Ordinal);
        Assert.Contains("Sessions: &lt;rate&gt;", html, StringComparison.Ordinal);
        Assert.DoesNotContain("<rate>", html, StringComparison.Ordinal);
    }

    [Fact]
    public void A_sheet_with_something_missing_is_told()
    {
        string sheet = FileWith("""{"curves": [{"name": "sessions"}]}""");
        Assert.Contains(sheet, Assert.Throws<InvalidDataException>(() => CurveSheet.Read(sheet)).Message,
            StringComparison.Ordinal);
        Assert.Null(CurveSheet.Read(FileWith("""{"label": "a run"}""")));
    }

    private string FileWith(string text)
    {
        string path = Path.Combine(_folder, Path.GetRandomFileName());
        File.WriteAllText(path, text);
        return path;
    }
}
