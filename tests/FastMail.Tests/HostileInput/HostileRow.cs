using System.Globalization;
using System.Text.RegularExpressions;

namespace FastMail.Tests.HostileInput;

/// <summary>
/// One row of badinputs.tsv, and the row of choices.tsv that says what this server does where the first allows several
/// things. Immutable.
/// </summary>
/// <param name="Id">Name of the case.</param>
/// <param name="Protocol">smtp, pop3 or http.</param>
/// <param name="State">Where the dialog is when the octets come.</param>
/// <param name="Octets">What is sent, with escapes and tokens.</param>
/// <param name="Allowed">What may come back.</param>
/// <param name="Choice">What does; null when it takes more than octets to play the row.</param>
/// <param name="Elsewhere">The test that plays it then, from elsewhere.tsv: <c>Class.Method</c>.</param>
internal sealed record HostileRow(
    string Id, string Protocol, string State, string Octets, string Allowed, HostileChoice? Choice, string? Elsewhere)
{
    private const RegexOptions Plain = RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture;

    private const RegexOptions Linear = RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture;

    // A reply code with its enhanced code, a class of codes, or a status of POP3.
    private static readonly Regex Code = new(@"[245]\d\d( \d\.\d\.\d{1,2})?|[245]xx|\+OK|-ERR( \[[A-Z/-]+\])?", Linear);

    public static IReadOnlyList<HostileRow> All { get; } = Load();

    /// <summary>The client speaks first: before the greeting, or to a listener behind a proxy.</summary>
    public bool SpeaksFirst => State is "pre-banner" or "connect-proxy-listener";

    /// <summary>
    /// The alternatives that the row allows for its replies, in order, as far as it says so in codes; empty where words
    /// describe it.
    /// </summary>
    public IReadOnlyList<string[]> AllowedReplies()
    {
        List<string[]> replies = [];
        foreach (string part in Allowed.Split(';'))
        {
            string codes = part.Trim();
            if (!Regex.IsMatch(codes, @"^(one-of\()?([245]\d\d|\+OK|-ERR)", Plain) || codes.Contains("x ", StringComparison.Ordinal))
            {
                break;
            }

            replies.Add([.. Code.Matches(codes).Select(match => match.Value)]);
        }

        return replies;
    }

    public override string ToString() => Id;

    private static List<HostileRow> Load()
    {
        Dictionary<string, HostileChoice> choices = Lines("choices.tsv")
            .Select(HostileChoice.Parse)
            .ToDictionary(choice => choice.Id, StringComparer.Ordinal);
        Dictionary<string, string> elsewhere = Lines("elsewhere.tsv")
            .ToDictionary(cells => cells[0], cells => cells[1], StringComparer.Ordinal);
        return
        [
            .. Lines("badinputs.tsv").Skip(1).Select(cells => new HostileRow(
                cells[0], cells[1], cells[2], cells[3], cells[4], choices.GetValueOrDefault(cells[0]),
                elsewhere.GetValueOrDefault(cells[0]))),
        ];
    }

    private static IEnumerable<string[]> Lines(string file) =>
        File.ReadLines(Path.Join(AppContext.BaseDirectory, "HostileInput", file))
            .Where(line => line.Length > 0 && line[0] != '#')
            .Select(line => line.Split('\t'));
}

/// <summary>What this server does with one case: written down once, in choices.tsv.</summary>
/// <param name="Id">The case.</param>
/// <param name="Replies">Beginnings of the replies, in order.</param>
/// <param name="Closes">The server closes; otherwise the dialog goes on.</param>
/// <param name="Stored">Messages that are in the maildrop of u afterwards and were not before.</param>
/// <param name="Why">Why the answer is none of those the case allows, or how its words are read; null where it is.</param>
internal sealed record HostileChoice(string Id, IReadOnlyList<string> Replies, bool Closes, int Stored, string? Why)
{
    public static HostileChoice Parse(string[] cells) => new(
        cells[0],
        [.. cells[1].Split(';', StringSplitOptions.RemoveEmptyEntries).SelectMany(Repeated)],
        cells[2] == "close",
        int.Parse(cells[3], CultureInfo.InvariantCulture),
        cells.ElementAtOrDefault(4));

    private static IEnumerable<string> Repeated(string reply)
    {
        Match match = Regex.Match(reply, @"^(?<count>\d+)\*(?<reply>.*)$", RegexOptions.NonBacktracking);
        return match.Success
            ? Enumerable.Repeat(match.Groups["reply"].Value, int.Parse(match.Groups["count"].Value, CultureInfo.InvariantCulture))
            : [reply];
    }
}
