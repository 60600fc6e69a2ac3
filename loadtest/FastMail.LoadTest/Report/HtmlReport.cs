using System.Globalization;
using System.Net;
using System.Text;

namespace FastMail.LoadTest.Report;

/// <summary>
/// Results as one self-contained page: no script, nothing loaded from elsewhere. Stateless.
/// </summary>
internal static class HtmlReport
{
    private const string Style =
        "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
        + "table{border-collapse:collapse;width:100%}td,th{padding:.25em .6em;border-bottom:1px solid #ddd;text-align:right}"
        + "td:first-child,th:first-child{text-align:left}figure{margin:2em 0}figcaption{font-weight:600}"
        + "svg{width:100%;height:auto;font-size:12px}.g{stroke:#e4e4e4}.t,.n{text-anchor:middle;fill:#555}"
        + ".r{text-anchor:end;fill:#555}.legend{font-size:13px}.bad{color:#b00020;font-weight:600}";

    internal static string Write(string title, IReadOnlyList<RunResult> results, IReadOnlyList<Curve> curves)
    {
        var page = new StringBuilder();
        string heading = WebUtility.HtmlEncode(title);
        _ = page.Append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
            .Append("<meta name=\"viewport\" content=\"width=device-width\">")
            .Append("<title>").Append(heading).Append("</title><style>").Append(Style).Append("</style></head><body>")
            .Append("<h1>").Append(heading).Append("</h1>\n");
        if (results.Count > 0)
        {
            WriteRuns(page, results);
        }

        foreach (Curve curve in curves)
        {
            WriteCurve(page, curve);
        }

        return page.Append("</body></html>\n").ToString();
    }

    private static void WriteRuns(StringBuilder page, IReadOnlyList<RunResult> results)
    {
        WriteTable(page, results);
        var throughput = new LineChart(
            "Throughput over time", "seconds", Scale.Linear, "messages or sessions a second", Scale.Linear);
        var latency = new LineChart(
            "Latency", "share", Scale.Nines, "milliseconds", Scale.Logarithmic);
        foreach (RunResult result in results)
        {
            throughput.Add(result.Label, result.Series);
            latency.Add(result.Label, result.Percentiles.Select(p => (p.Share, p.Latency / 1e3)));
        }

        _ = page.Append(throughput.ToSvg()).Append(latency.ToSvg());
        if (results.Select(result => result.Connections).Distinct().Count() > 1)
        {
            _ = page.Append(Ramp(results));
        }
    }

    private static void WriteCurve(StringBuilder page, Curve curve)
    {
        var chart = new LineChart(
            $"{curve.Title}: {curve.Measure}", curve.Size, Scale.Logarithmic, curve.Measure, Scale.Linear);
        chart.Add(curve.Measure, curve.Points);
        double first = curve.Points.Count > 0 ? curve.Points[0].Value : 0;
        _ = page.Append(chart.ToSvg()).Append("<table><tr><th>").Append(WebUtility.HtmlEncode(curve.Size))
            .Append("</th><th>").Append(WebUtility.HtmlEncode(curve.Measure)).Append("</th><th>of the first</th></tr>\n");
        foreach ((double at, double value) in curve.Points)
        {
            string ratio = first > 0 ? (value / first).ToString("0.00", CultureInfo.InvariantCulture) : "";
            _ = page.Append(string.Create(
                CultureInfo.InvariantCulture, $"<tr><td>{at:#,0}</td><td>{value:0.###}</td><td>{ratio}</td></tr>\n"));
        }

        _ = page.Append("</table>\n");
    }

    private static void WriteTable(StringBuilder page, IReadOnlyList<RunResult> results)
    {
        _ = page.Append("<table><tr><th>run</th><th>measured</th><th>connections</th><th>messages or sessions/s</th><th>MB/s</th>")
            .Append("<th>p50 ms</th><th>p99 ms</th><th>p99.99 ms</th></tr>\n");
        foreach (RunResult result in results)
        {
            string label = WebUtility.HtmlEncode(result.Label) + (result.IsAllWell ? "" : " <span class=\"bad\">not all well</span>");
            _ = page.Append(string.Create(
                CultureInfo.InvariantCulture,
                $"<tr><td>{label}</td><td>{result.Measured}</td><td>{result.Connections}</td>")
                + string.Create(
                    CultureInfo.InvariantCulture,
                    $"<td>{result.MessagesPerSecond:0}</td><td>{result.MegabytesPerSecond:0.0}</td><td>{At(result, 0.5):0.000}</td>")
                + string.Create(
                    CultureInfo.InvariantCulture,
                    $"<td>{At(result, 0.99):0.000}</td><td>{At(result, 0.9999):0.000}</td></tr>\n"));
        }

        _ = page.Append("</table>\n");
    }

    /// <summary>Runs that differ in the number of their connections alone are one curve.</summary>
    private static string Ramp(IReadOnlyList<RunResult> results)
    {
        var chart = new LineChart(
            "Ramp", "connections", Scale.Logarithmic, "messages or sessions a second", Scale.Linear);
        foreach (IGrouping<string, RunResult> kind in results.GroupBy(result => result.Kind, StringComparer.Ordinal))
        {
            chart.Add(kind.Key, kind.OrderBy(r => r.Connections).Select(r => ((double)r.Connections, r.MessagesPerSecond)));
        }

        return chart.ToSvg();
    }

    private static double At(RunResult result, double share) =>
        result.Percentiles.First(p => p.Share == share).Latency / 1e3;
}
