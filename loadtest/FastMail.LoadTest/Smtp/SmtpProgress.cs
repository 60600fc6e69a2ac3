using System.Globalization;

namespace FastMail.LoadTest.Smtp;

/// <summary>The line of each second. Owned by the loop thread.</summary>
internal sealed class SmtpProgress(TextWriter output, SmtpTally tally)
{
    private TimeSpan _shownAt;
    private long _shownAcked;
    private long _shownOctets;

    internal void Show(TimeSpan elapsed, bool isWarmUp)
    {
        double seconds = Math.Max(0.001, (elapsed - _shownAt).TotalSeconds);
        double rate = (tally.Acked - _shownAcked) / seconds;
        double megabytes = (tally.AckedOctets - _shownOctets) / seconds / 1e6;
        string note = isWarmUp ? "  (warm-up)" : "";
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{elapsed.TotalSeconds,4:0} s {rate,9:0} msg/s {megabytes,8:0.0} MB/s  acked {tally.Acked}"
            + $"  refused {tally.Refused}  in doubt {tally.InDoubt}  lost connections {tally.ConnectionsLost}{note}"));
        _shownAt = elapsed;
        _shownAcked = tally.Acked;
        _shownOctets = tally.AckedOctets;
    }
}
