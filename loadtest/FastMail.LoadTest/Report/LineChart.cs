using System.Globalization;
using System.Net;
using System.Text;

namespace FastMail.LoadTest.Report;

/// <summary>How an axis counts.</summary>
internal enum Scale
{
    /// <summary>Evenly, from 0.</summary>
    Linear,

    /// <summary>By powers of ten.</summary>
    Logarithmic,

    /// <summary>Shares of all, spread out towards 1: 0.9, 0.99 and 0.999 are equally far from each other.</summary>
    Nines,
}

/// <summary>A chart of lines as SVG. Built, written once and thrown away.</summary>
internal sealed class LineChart(string title, string horizontal, Scale horizontalScale, string vertical, Scale verticalScale)
{
    private const double Width = 860;
    private const double Height = 320;
    private const double Left = 70;
    private const double Right = 32;
    private const double Top = 12;
    private const double Bottom = 42;

    private static readonly string[] Colours =
        ["#1f6f8b", "#c1440e", "#4f7942", "#7d4e9e", "#b8860b", "#2f4f4f", "#c71585", "#556b2f"];

    private readonly List<(string Name, IReadOnlyList<(double X, double Y)> Points)> _lines = [];

    internal void Add(string name, IEnumerable<(double X, double Y)> points) => _lines.Add((name, [.. points]));

    internal string ToSvg()
    {
        (double X, double Y)[] all = [.. _lines.SelectMany(line => line.Points)];
        var svg = new StringBuilder();
        Append(svg, $"<figure><figcaption>{WebUtility.HtmlEncode(title)}</figcaption>");
        Append(svg, $"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{WebUtility.HtmlEncode(title)}\">");
        if (all.Length > 0)
        {
            var x = new Axis(horizontalScale, all.Min(p => p.X), all.Max(p => p.X), Left, Width - Right);
            var y = new Axis(verticalScale, all.Min(p => p.Y), all.Max(p => p.Y), Height - Bottom, Top);
            WriteGrid(svg, x, y);
            for (int i = 0; i < _lines.Count; i++)
            {
                WriteLine(svg, x, y, _lines[i].Points, Colours[i % Colours.Length]);
            }
        }

        Append(svg, $"<text x=\"{(Left + Width - Right) / 2}\" y=\"{Height - 6}\" class=\"n\">{WebUtility.HtmlEncode(horizontal)}</text>");
        Append(svg, $"<text transform=\"translate(14 {(Top + Height - Bottom) / 2}) rotate(-90)\" class=\"n\">{WebUtility.HtmlEncode(vertical)}</text>");
        _ = svg.Append("</svg><div class=\"legend\">");
        for (int i = 0; i < _lines.Count; i++)
        {
            Append(svg, $"<span style=\"color:{Colours[i % Colours.Length]}\">&#9632;</span> ");
            Append(svg, $"{WebUtility.HtmlEncode(_lines[i].Name)}&emsp;");
        }

        return svg.Append("</div></figure>\n").ToString();
    }

    private static void WriteGrid(StringBuilder svg, Axis x, Axis y)
    {
        foreach (double tick in x.Ticks())
        {
            double at = x.At(tick);
            Append(svg, $"<line x1=\"{at:0.0}\" x2=\"{at:0.0}\" y1=\"{Top}\" y2=\"{Height - Bottom}\" class=\"g\"/>");
            Append(svg, $"<text x=\"{at:0.0}\" y=\"{Height - Bottom + 15}\" class=\"t\">{x.Text(tick)}</text>");
        }

        foreach (double tick in y.Ticks())
        {
            double at = y.At(tick);
            Append(svg, $"<line x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{at:0.0}\" y2=\"{at:0.0}\" class=\"g\"/>");
            Append(svg, $"<text x=\"{Left - 6}\" y=\"{at + 4:0.0}\" class=\"r\">{y.Text(tick)}</text>");
        }
    }

    private static void WriteLine(
        StringBuilder svg, Axis x, Axis y, IReadOnlyList<(double X, double Y)> points, string colour)
    {
        string path = string.Join(' ', points.Select(p => Invariant($"{x.At(p.X):0.0},{y.At(p.Y):0.0}")));
        Append(svg, $"<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        foreach ((double px, double py) in points.Count <= 60 ? points : [])
        {
            Append(svg, $"<circle cx=\"{x.At(px):0.0}\" cy=\"{y.At(py):0.0}\" r=\"2.5\" fill=\"{colour}\">");
            Append(svg, $"<title>{x.Text(px)}: {y.Text(py)}</title></circle>");
        }
    }

    private static void Append(StringBuilder svg, FormattableString text) => svg.Append(Invariant(text));

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>Values to places on the picture. Immutable.</summary>
    private sealed class Axis
    {
        private readonly Scale _scale;
        private readonly double _least;
        private readonly double _most;
        private readonly double _from;
        private readonly double _to;

        public Axis(Scale scale, double least, double most, double from, double to)
        {
            _scale = scale;
            _from = from;
            _to = to;
            (_least, _most) = scale switch
            {
                Scale.Linear => (Math.Min(0, least), most <= 0 ? 1 : most),
                Scale.Logarithmic => (Math.Floor(Position(least)), Math.Ceiling(Position(most))),
                _ => (Position(least), Position(most)),
            };
            _most = _most <= _least ? _least + 1 : _most;
        }

        public double At(double value) => _from + ((Position(value) - _least) / (_most - _least) * (_to - _from));

        public IEnumerable<double> Ticks()
        {
            switch (_scale)
            {
                case Scale.Linear:
                    double step = Math.Pow(10, Math.Floor(Math.Log10(_most / 4)));
                    step *= _most / step > 20 ? 5 : _most / step > 8 ? 2 : 1;
                    for (double tick = 0; tick <= _most * 1.0001; tick += step)
                    {
                        yield return tick;
                    }

                    break;
                case Scale.Logarithmic:
                    for (double power = _least; power <= _most; power++)
                    {
                        yield return Math.Pow(10, power);
                    }

                    break;
                default:
                    foreach (double share in (double[])[0.5, 0.9, 0.95, 0.99, 0.999, 0.9999])
                    {
                        if (Position(share) >= _least && Position(share) <= _most)
                        {
                            yield return share;
                        }
                    }

                    break;
            }
        }

        public string Text(double value) => _scale == Scale.Nines
            ? Invariant($"{value * 100:0.##} %")
            : value switch
            {
                >= 1e6 => Invariant($"{value / 1e6:0.##}M"),
                >= 1e4 => Invariant($"{value / 1e3:0.#}k"),
                _ => Invariant($"{value:0.##}"),
            };

        private double Position(double value) => _scale switch
        {
            Scale.Linear => value,
            Scale.Logarithmic => Math.Log10(Math.Max(value, 1e-3)),
            _ => -Math.Log10(Math.Max(1 - value, 1e-6)),
        };
    }
}
