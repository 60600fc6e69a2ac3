using System.Text;
using FastMail.Tests.Protocol.Mime;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// The same content as BINARYMIME: however it is cut, it becomes what the obvious conversion makes of it, or is refused
/// for a reason.
/// </summary>
internal sealed partial class ContentTarget
{
    private const int LongestJudgedLine = 4000; // longer ones meet the bounds of what is held

    private static string JudgeConversion(byte[] input, Random chance)
    {
        var content = (chance.Next(4) > 0 ? "MIME-Version: 1.0\r\n" : "") + Encoding.Latin1.GetString(input);
        var whole = BinaryMimeRig.Send(content);
        var most = 1 + chance.Next(200);
        var cut = BinaryMimeRig.Send(content, () => 1 + chance.Next(most), () => int.MaxValue);
        Promise(whole == cut, $"converted otherwise in segments up to {most}: {whole} but {cut}");
        var chunked = BinaryMimeRig.Send(content, () => int.MaxValue, () => chance.Next(most + 1));
        Promise(whole.Stored == chunked.Stored, $"converted otherwise in chunks up to {most}: {whole} but {chunked}");

        if (content.Split("\r\n").Any(line => line.Length > LongestJudgedLine))
        {
            return "long";
        }
        var expected = ObviousConversion.Convert(content);
        if (expected is null || Bare().IsMatch(expected) || expected.Contains('\0', StringComparison.Ordinal))
        {
            Promise(whole.Stored is null && Says(whole.Replies, "554 5.6.3"), "stored, or refused otherwise: " + whole);
            return "refused";
        }
        Promise(
            whole.Stored == BinaryMimeRig.WithLineEnd(expected) || Says(whole.Replies, "554 5.4.6"),
            $"not {expected} but {whole}");
        return expected.Length == content.Length ? "same" : "converted";
    }
}
