using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace FastMail.Tests.Protocol;

/// <summary>
/// Text of a test as octets: C escapes and <c>{{n*S}}</c> for n times S. Stateless.
/// </summary>
internal static class Script
{
    private const RegexOptions Linear =
        RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture | RegexOptions.Singleline;

    private static readonly Regex Repeat = new(@"\{\{(?<n>\d+)\*(?<text>[^}]*)\}\}", Linear);
    private static readonly Regex Escape = new(@"\\(x[0-9a-fA-F]{2}|.)", Linear);

    public static byte[] Octets(string text)
    {
        var repeated = Repeat.Replace(text, match =>
        {
            var times = int.Parse(match.Groups["n"].Value, CultureInfo.InvariantCulture);
            return string.Concat(Enumerable.Repeat(match.Groups["text"].Value, times));
        });
        var plain = Escape.Replace(repeated, match => match.Value[1] switch
        {
            'r' => "\r",
            'n' => "\n",
            't' => "\t",
            'x' => ((char)Convert.ToByte(match.Value[2..], 16)).ToString(),
            _ => match.Value[1..],
        });
        return Encoding.Latin1.GetBytes(plain);
    }
}
