using System.Text;
using FastMail.Tests.Protocol;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// A whole session. The same octets at once, in random segments and one by one, with roomy and with scarce replies, in
/// a new session and in one that comes back from the pool: all give equal replies and equal stored bytes. Hostile
/// commands end the session.
/// </summary>
internal abstract class DialogTarget(string name, params string[] words) : FuzzTarget(name, words)
{
    /// <summary>The longest line that a session may want to see whole: a connection's buffer must hold it.</summary>
    private const int LongestLine = 12_288;

    private const int AgainOneByOne = 1500; // octets; longer inputs are cut less finely

    protected override int LongestInput => 5000;

    public override string Run(byte[] input)
    {
        var chance = ChanceOf(input);
        var (rig, whole) = Play(Create(65536, isSlow: false), input, () => int.MaxValue);
        Judge(whole.Sent, input);
        Promise(
            whole.Sent.Length <= 4096 + (2048 * input.Count((byte)'\n')),
            $"{whole.Sent.Length} octets of replies to {input.Length} of input");
        End(rig);

        Reset(rig);
        rig.Restart();
        (_, var pooled) = Play(rig, input, () => 1 + chance.Next(chance.Next(2) == 0 ? 8 : 200));
        Same(whole, pooled, "random segments, in a session from the pool");

        var step = input.Length <= AgainOneByOne ? 1 : 13;
        (_, var fine) = Play(Create(1024, isSlow: true), input, () => step);
        Same(whole, fine, $"segments of {step}");

        JudgeInjection(input);
        return Signature(whole);
    }

    /// <summary>A session with its fakes, which are new.</summary>
    protected abstract Rig Create(int replyBytes, bool isSlow);

    /// <summary>Ends the dialog as a broken connection does and makes the session ready for the next.</summary>
    protected abstract void Reset(Rig rig);

    /// <summary>What the dialog has left behind, in words; what was kept of the dialog before does not count.</summary>
    protected abstract string Kept(Rig rig, byte[] input);

    /// <summary>The last words of our side; returns their octets.</summary>
    protected abstract int LastWords(Rig rig, Span<byte> replies);

    /// <summary>Commands have no meaning where the session is.</summary>
    protected abstract bool IsInContent(Rig rig);

    /// <summary>What is sent is in the protocol's form.</summary>
    protected abstract void Judge(string sent, byte[] input);

    /// <summary>Where it led: the kinds of replies, without repetitions.</summary>
    protected abstract string KindOf(string line);

    private (Rig Rig, Outcome Outcome) Play(Rig rig, byte[] input, Func<int> segment)
    {
        rig.Feed([]);
        for (var at = 0; at < input.Length;)
        {
            // Where TLS may begin a segment ends: what comes along with the command is another story.
            var end = BehindStartTls(input, at);
            var length = Math.Min(segment(), end - at);
            rig.Feed(input.AsSpan(at, length));
            Promise(rig.Unconsumed <= LongestLine, $"{rig.Unconsumed} octets wait to be used up");
            at += length;
            if (rig.IsStartingTls)
            {
                rig.Secure();
            }
        }
        return (rig, new Outcome(rig.Sent, rig.IsClosed, Kept(rig, input)));
    }

    /// <summary>Input behind STARTTLS comes in the same segment: none of it is heard.</summary>
    private void JudgeInjection(byte[] input)
    {
        var rig = Create(65536, isSlow: false);
        rig.Feed([]);
        rig.Feed(input);
        Judge(rig.Sent, input);
        Kept(rig, input);
    }

    /// <summary>Where the line of a STARTTLS or STLS ends, the first behind a place.</summary>
    private static int BehindStartTls(byte[] input, int from)
    {
        for (var at = 0; at + 3 <= input.Length; at++)
        {
            if ((input[at] | 0x20) == 't' && (input[at + 1] | 0x20) == 'l' && (input[at + 2] | 0x20) == 's')
            {
                var end = at + input.AsSpan(at).IndexOf((byte)'\n') + 1;
                if (end > from)
                {
                    return end;
                }
            }
        }
        return input.Length;
    }

    /// <summary>One bad command after the other ends every session, and its last words are the protocol's.</summary>
    private void End(Rig rig)
    {
        if (!IsInContent(rig) && !rig.IsStartingTls)
        {
            for (var i = 0; i < 24 && !rig.IsClosed; i++)
            {
                rig.Feed("FOO\r\n"u8);
            }
            Promise(rig.IsClosed, "24 bad commands did not end the session");
            Judge(rig.Sent, []);
        }
        var replies = new byte[1024];
        var last = Encoding.Latin1.GetString(replies, 0, LastWords(rig, replies));
        Promise(!rig.IsClosed || last.Length == 0, "words behind the last");
        Judge(last, []);
    }

    private static void Same(Outcome whole, Outcome other, string how)
    {
        if (whole != other)
        {
            var (one, two) = (whole.ToString(), other.ToString());
            var same = one.AsSpan().CommonPrefixLength(two);
            throw new BrokenPromiseException(
                $"In one segment: ...{Around(one, same)}...\nbut as {how}: ...{Around(two, same)}...");
        }

        static string Around(string text, int at) => text[Math.Max(at - 200, 0)..Math.Min(at + 200, text.Length)];
    }

    private string Signature(Outcome outcome)
    {
        var kinds = new StringBuilder();
        var before = "";
        var count = 0;
        foreach (var line in outcome.Sent.Split("\r\n"))
        {
            var kind = KindOf(line);
            if (kind != before && count++ < 12)
            {
                kinds.Append(kind).Append(' ');
            }
            before = kind;
        }
        return $"{kinds}{outcome.IsClosed} {outcome.Kept.Length > 0}";
    }

    /// <summary>All that the peers and the log have of a dialog. A value.</summary>
    private sealed record Outcome(string Sent, bool IsClosed, string Kept)
    {
        public override string ToString() => $"{Sent}closed: {IsClosed}\nkept: {Kept}\n";
    }
}
