using System.Globalization;
using FastMail.LoadTest.Measure;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace FastMail.LoadTest.Live;

/// <summary>Draws standings of one run, with the rate of the last second. Owned by the display's thread.</summary>
internal sealed class StandingPicture
{
    private static readonly TimeSpan RateOver = TimeSpan.FromSeconds(1);

    private readonly Queue<Standing> _lastSecond = [];

    internal IRenderable Of(Standing standing)
    {
        var rows = new Grid().AddColumn(new GridColumn().NoWrap()).AddColumn();
        Add(rows, "time", TimeOf(standing));
        Add(rows, standing.Unit, DoneOf(standing));
        Add(rows, "rate", RateOf(standing));
        Add(rows, "", string.Join("   ", standing.Counts.Select(one => Line($"{one.Name} {one.Count}"))));
        if (standing.Latency is { } measured)
        {
            Add(rows, measured.Of, measured.Latency.Count > 0 ? LatencyText.Of(measured.Latency) : "-");
        }

        return new Panel(rows).Header(Markup.Escape(standing.Title)).RoundedBorder();
    }

    private static void Add(Grid rows, string name, string value) => rows.AddRow(new Text(name), new Text(value));

    private static string TimeOf(Standing standing)
    {
        string total = standing.Total is { } all ? Line($" of {all.TotalSeconds:0} s") : "";
        return Line($"{standing.Elapsed.TotalSeconds:0} s") + total + (standing.IsWarmUp ? "  (warm-up)" : "");
    }

    private static string DoneOf(Standing standing) => standing.Wanted is { } wanted
        ? Line($"{standing.Done} of {wanted}  {100.0 * standing.Done / Math.Max(1, wanted):0} %")
        : Line($"{standing.Done}");

    private string RateOf(Standing standing)
    {
        while (_lastSecond.TryPeek(out Standing? old) && standing.Elapsed - old.Elapsed > RateOver * 1.5)
        {
            _ = _lastSecond.Dequeue();
        }

        Standing since = _lastSecond.TryPeek(out Standing? first) ? first : standing;
        _lastSecond.Enqueue(standing);
        double seconds = Math.Max(0.001, (standing.Elapsed - since.Elapsed).TotalSeconds);
        string megabytes = standing.Octets is { } octets
            ? Line($"  {(octets - since.Octets ?? 0) / seconds / 1e6:0.0} MB/s")
            : "";
        return Line($"{(standing.Done - since.Done) / seconds:0} {standing.Unit}/s") + megabytes;
    }

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
