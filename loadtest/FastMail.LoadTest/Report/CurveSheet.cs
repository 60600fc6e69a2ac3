using System.Text.Json;

namespace FastMail.LoadTest.Report;

/// <summary>One curve of a sheet: what was measured at each size of something. Immutable.</summary>
internal sealed record Curve(string Title, string Size, string Measure, IReadOnlyList<(double At, double Value)> Points);

/// <summary>A file of <c>bench/curves.py --json</c>. Stateless.</summary>
internal static class CurveSheet
{
    /// <summary>Its curves, or null for a file that is none.</summary>
    /// <exception cref="InvalidDataException">It is one, with something missing.</exception>
    internal static Curve[]? Read(string path)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            return document.RootElement.ValueKind == JsonValueKind.Object
                && document.RootElement.TryGetProperty("curves", out JsonElement curves)
                ? [.. curves.EnumerateArray().SelectMany(CurvesOf)]
                : null;
        }
        catch (Exception wrong) when (wrong is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new InvalidDataException($"{path}: not a result of 'curves.py --json' ({wrong.Message})", wrong);
        }
    }

    private static IEnumerable<Curve> CurvesOf(JsonElement one) =>
        one.GetProperty("measures").EnumerateArray().Select(measure => new Curve(
            one.GetProperty("title").GetString() ?? "",
            one.GetProperty("size").GetString() ?? "",
            measure.GetProperty("name").GetString() ?? "",
            [
                .. measure.GetProperty("points").EnumerateArray().Select(point =>
                    (point.GetProperty("at").GetDouble(), point.GetProperty("value").GetDouble())),
            ]));
}
