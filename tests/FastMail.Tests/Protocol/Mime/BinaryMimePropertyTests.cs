using System.Text;
using System.Text.RegularExpressions;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol.Mime;

/// <summary>
/// Random trees of parts with random octets in the binary ones, cut anyhow: a small reader that knows nothing of the
/// conversion finds every leaf again, octet for octet.
/// </summary>
public sealed class BinaryMimePropertyTests
{
    private const RegexOptions Plain = RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking;

    private static readonly string[] Pieces =
    [
        "\r\n", "\r", "\n", "\0", "--", "-", ".", "\r\n.", "\r\n--", "--b1", "\r\n--b0_x", "\r\n--b1_ x", "\r\n--b0", "\r\n\r\n", "text", "\xFF\xFE",
        "Content-Transfer-Encoding: binary\r\n", "--b0-", new string('z', 57), new string('y', 300),
    ];

    private static readonly string[] Words = ["plain words", "..", ".", "", "-- ", "--x", "caf\xE9", "--b", "From me", new string('w', 900)];

    /// <summary>A leaf, or a multipart or message and what is in it.</summary>
    private sealed record Part(string Kind, string Encoding, string Octets, IReadOnlyList<Part> Parts)
    {
        public bool IsLeaf => Parts.Count == 0;

        public IEnumerable<string> Leaves => IsLeaf ? [Octets] : Parts.SelectMany(p => p.Leaves);
    }

    [Fact]
    public void Every_leaf_comes_back_octet_for_octet()
    {
        var cases = Tree(4).Zip(Gen.Choose(1, int.MaxValue)).ToArbitrary();
        Prop.ForAll(cases, pair =>
        {
            var (tree, seed) = pair;
            var random = new Random(seed);
            var content = "MIME-Version: 1.0\r\n" + Write(tree, random, new Counter());
            var (stored, replies) = BinaryMimeRig.Send(
                content, () => 1 + random.Next(random.Next(2) == 0 ? 4 : 300), () => random.Next(random.Next(2) == 0 ? 9 : 900));
            Assert.True(stored is not null, replies);
            Assert.DoesNotMatch(new Regex("(?i)binary$", Plain | RegexOptions.Multiline), Headers(stored));
            var read = Read(stored[..^(content.EndsWith("\r\n", StringComparison.Ordinal) ? 0 : 2)]);
            Assert.Equal(tree.Leaves, read, StringComparer.Ordinal);
            Assert.Equal(BinaryMimeRig.WithLineEnd(ObviousConversion.Convert(content)!), stored);
            return true;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(500));
    }

    private static Gen<Part> Tree(int depth)
    {
        var binary = Gen.Elements(Pieces).ArrayOf().Select(p => new Part("application/x", "binary", string.Concat(p), []));
        var lines = Gen.Elements(Words).NonEmptyListOf()
            .Select(words => new Part("text/plain", "8bit", string.Join("\r\n", words), []));
        var leaf = Gen.OneOf(binary, lines);
        if (depth == 0)
        {
            return leaf;
        }
        var label = Gen.Elements("binary", "8bit", "");
        var several = Gen.Choose(1, 3).SelectMany(count => Tree(depth - 1).ListOf(count));
        var multipart = label.Zip(several)
            .Select(both => new Part("multipart/mixed", both.Item1, "", [.. both.Item2]));
        var message = label.Zip(Tree(depth - 1)).Select(both => new Part("message/rfc822", both.Item1, "", [both.Item2]));
        return Gen.Frequency((2, leaf), (3, multipart), (1, message));
    }

    private static string Write(Part part, Random random, Counter counter)
    {
        var boundary = $"b{counter.Next()}_";
        List<string> fields =
        [
            $"Content-Type: {part.Kind}" + (part.Kind[1] == 'u' ? $"; boundary=\"{boundary}\"\r\n" : "\r\n"),
            part.Encoding.Length > 0 ? $"Content-Transfer-Encoding: {part.Encoding}\r\n" : "X: y\r\n",
            "Subject: x\r\n y\r\n",
        ];
        var header = string.Concat(fields.OrderBy(_ => random.Next())) + "\r\n";
        if (part.IsLeaf)
        {
            return header + part.Octets;
        }
        if (part.Kind[1] == 'e')
        {
            return header + "MIME-Version: 1.0\r\n" + Write(part.Parts[0], random, counter);
        }
        var body = new StringBuilder(random.Next(2) == 0 ? "" : "preamble\r\n");
        foreach (var inner in part.Parts)
        {
            body.Append("--").Append(boundary).Append("\r\n").Append(Write(inner, random, counter)).Append("\r\n");
        }
        return header + body + $"--{boundary}--" + (random.Next(2) == 0 ? "" : "\r\nepilogue");
    }

    /// <summary>The leaves: a small reader that trusts what it reads.</summary>
    private static IEnumerable<string> Read(string entity)
    {
        var end = entity.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        var (header, body) = (entity[..(end + 2)], entity[(end + 4)..]);
        if (Regex.Match(header, "boundary=\"(?<b>[^\"]*)\"", Plain) is { Success: true } match)
        {
            var parts = ("\r\n" + body).Split("\r\n--" + match.Groups["b"].Value + "\r\n");
            parts[^1] = parts[^1][..parts[^1].LastIndexOf($"\r\n--{match.Groups["b"].Value}--", StringComparison.Ordinal)];
            return parts.Skip(1).SelectMany(Read);
        }
        if (header.Contains("message/rfc822", StringComparison.Ordinal))
        {
            return Read(body);
        }
        return header.Contains("Encoding: base64", StringComparison.Ordinal)
            ? [Encoding.Latin1.GetString(Convert.FromBase64String(body))]
            : [body];
    }

    private static string Headers(string stored) => string.Join(
        '\n', stored.Split("\r\n").Where(line => line.StartsWith("Content-Transfer-Encoding:", StringComparison.Ordinal)));

    /// <summary>Counts boundaries.</summary>
    private sealed class Counter
    {
        private int _count;

        public int Next() => _count++;
    }
}
