using System.Globalization;
using System.Text;
using FastMail.Tests.Protocol;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// Inputs kept as text: C escapes and <c>{{n*S}}</c>; the line breaks of the file mean nothing, and a line that begins
/// with <c>#</c> says what the input is about. Stateless.
/// </summary>
internal static class Corpus
{
    private const int WorthFolding = 12;

    /// <summary>The inputs of a target with the names of their files, in order.</summary>
    public static IEnumerable<(string File, byte[] Input)> Of(string target)
    {
        var folder = Path.Join(AppContext.BaseDirectory, "Fuzz", "Corpus", target);
        return Directory.EnumerateFiles(folder, "*.txt").Order(StringComparer.Ordinal)
            .Select(path => (Path.GetFileName(path), Read(path)));
    }

    public static byte[] Read(string path) =>
        Script.Octets(string.Concat(File.ReadLines(path).Where(line => !line.StartsWith('#'))));

    /// <summary>The text that <see cref="Read"/> would read as these octets, a line of the input a line.</summary>
    public static string Text(ReadOnlySpan<byte> input)
    {
        var text = new StringBuilder();
        for (var at = 0; at < input.Length;)
        {
            var run = 1;
            while (at + run < input.Length && input[at + run] == input[at])
            {
                run++;
            }
            var octet = Escape(input[at]);
            if (run >= WorthFolding && octet.Length == 1)
            {
                text.Append(CultureInfo.InvariantCulture, $"{{{{{run}*{octet}}}}}");
                at += run;
                continue;
            }
            text.Append(octet);
            if (input[at] == '\n')
            {
                text.Append('\n');
            }
            at++;
        }
        return text.ToString();
    }

    private static string Escape(byte octet) => octet switch
    {
        (byte)'\r' => @"\r",
        (byte)'\n' => @"\n",
        (byte)'\\' => @"\\",
        // A brace could begin a repetition, and # at the start of a line a comment.
        <= 32 or >= 127 or (byte)'{' or (byte)'}' or (byte)'#' when octet != ' ' => $@"\x{octet:x2}",
        _ => ((char)octet).ToString(),
    };
}
