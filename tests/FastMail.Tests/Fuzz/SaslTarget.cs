using System.Text;
using System.Text.RegularExpressions;
using FastMail.Protocol;
using FastMail.Protocol.Sasl;
using FastMail.Tests.Protocol;
using FastMail.Tests.Protocol.Sasl;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// SASL exchanges: the first line names the mechanism, each further one is a response. Base64 has one spelling, the
/// responses mean what the mechanisms' grammars say, and nobody gets in but with credentials.
/// </summary>
internal sealed partial class SaslTarget() : FuzzTarget(
    "sasl",
    "PLAIN\n", "LOGIN\n", "SCRAM-SHA-256\n", "SCRAM-SHA-256-PLUS\n", "OAUTHBEARER\n", "XOAUTH2\n", "\n", "*\n", "=\n",
    "~\\x00demo@local.test\\x00secret\n", "~demo@local.test\\x00demo@local.test\\x00secret\n", "~demo@local.test\n",
    "~secret\n",
    "~n,,n=user,r=rOprNGfwEbeRWgbNEkqO\n", "~c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    + "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=\n", "~y,,n=user,r=x\n", "~p=tls-server-end-point,,n=user,r=x\n",
    "~n,a=user,n=user,r=rOprNGfwEbeRWgbNEkqO\n", "~n,a=user@example.com,\\x01auth=Bearer "
    + "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\\x01\\x01\n", "~user=user@example.com\\x01auth=Bearer "
    + "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\\x01\\x01\n", "=2C", "=3D", ",", "m=x,", "~", "\\x00", "\\x01", "a=", "n=",
    "AGRlbW9AbG9jYWwudGVzdABzZWNyZXQ=\n", "AA==\n", "AB==\n", "A===\n", "\xE9", "{{255*u}}", "{{96*r}}", "{{300*QUJD}}")
{
    private const string First = "n=user,r=rOprNGfwEbeRWgbNEkqO";
    private const string Final = ",r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        + "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    private static readonly SaslMechanisms[] All =
        [.. Enum.GetValues<SaslMechanisms>().Where(m => m != SaslMechanisms.None)];

    public override int QuickRuns => 6000;

    protected override int LongestInput => 1500;

    public override string Run(byte[] input)
    {
        var lines = Encoding.Latin1.GetString(input).Split('\n');
        var mechanism = Array.Find(All, m => Encoding.ASCII.GetString(SaslNames.NameOf(m)) == lines[0]);
        mechanism = mechanism == SaslMechanisms.None ? All[input.Length % All.Length] : mechanism;
        // A line that begins with ~ is put into base64, so that mutations reach what is behind it.
        var responses = Array.ConvertAll(lines[1..], l =>
            l.StartsWith('~') ? Convert.ToBase64String(Encoding.Latin1.GetBytes(l[1..])) : l.Trim('\r'));
        Array.ForEach(responses, JudgeBase64);
        var isInitial = ChanceOf(input).Next(2) == 0;
        return $"{mechanism} {Exchange(mechanism, responses, isInitial)}";
    }

    private static string Exchange(SaslMechanisms mechanism, string[] responses, bool isInitial)
    {
        var authenticator = new FakeAuthenticator();
        var exchange = new SaslExchange(authenticator, Rfc7677.Nonce)
        {
            ChannelBindings = mechanism == SaslMechanisms.ScramSha256Plus ? Rig.Facts : null,
        };
        var hasInitial = isInitial && responses.Length > 0 && responses[0].Length > 0;
        var step = exchange.Begin(
            mechanism, hasInitial, hasInitial ? Encoding.Latin1.GetBytes(responses[0]) : default);
        var at = hasInitial ? 1 : 0;
        var trail = "";
        for (var steps = 0; steps < 8; steps++)
        {
            trail += (int)step;
            switch (step)
            {
                case SaslStep.Challenge:
                    JudgeChallenge(exchange);
                    if (at == responses.Length)
                    {
                        return trail;
                    }
                    step = exchange.Take(Encoding.Latin1.GetBytes(responses[at++]));
                    break;
                case SaslStep.Waiting:
                    Promise(exchange.IsWaiting, "it waits for nothing");
                    step = exchange.Settle(authenticator.Complete(), default);
                    break;
                case SaslStep.Accepted:
                    JudgeAccepted(mechanism, responses[..at], exchange);
                    return trail;
                default:
                    Promise(!exchange.IsWaiting, $"a verdict is awaited behind {step}");
                    return trail;
            }
        }
        throw new BrokenPromiseException("eight steps and no end: " + trail);
    }

    /// <summary>A challenge fits where the sessions write it.</summary>
    private static void JudgeChallenge(SaslExchange exchange)
    {
        var room = new byte[1024];
        var replies = new ReplyWriter(room);
        exchange.WriteChallenge(ref replies);
        Promise(replies.Written <= 320, $"a challenge of {replies.Written} octets");
        Promise(
            Base64().IsMatch(Encoding.Latin1.GetString(room, 0, replies.Written)), "a challenge that is not base64");
    }

    private static void JudgeAccepted(SaslMechanisms mechanism, string[] said, SaslExchange exchange)
    {
        var plain = string.Join('\n', said.Select(s => Encoding.Latin1.GetString(Decode(s) ?? [])));
        var identity = Encoding.Latin1.GetString(exchange.Identity);
        var isRight = mechanism switch
        {
            SaslMechanisms.Plain => plain is "\0demo@local.test\0secret" or "demo@local.test\0demo@local.test\0secret",
            SaslMechanisms.Login => plain == "demo@local.test\nsecret",
            SaslMechanisms.ScramSha256 => plain == $"n,,{First}\nc=biws{Final}\n",
            // The test knows no password's proof for a bound channel, so nobody can have sent one.
            SaslMechanisms.ScramSha256Plus => false,
            _ => plain.Contains("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", StringComparison.Ordinal)
                && plain.Contains("bearer", StringComparison.OrdinalIgnoreCase),
        };
        Promise(isRight, $"{identity} got in with {Corpus.Text(Encoding.Latin1.GetBytes(plain))}");
        Promise(
            identity is "demo@local.test" or "user" or "user@example.com" || (identity.Length == 0 && mechanism
                == SaslMechanisms.OAuthBearer), "somebody else got in: " + identity);
    }

    private static void JudgeBase64(string text)
    {
        var octets = Encoding.Latin1.GetBytes(text);
        var room = new byte[StrictBase64.MaxDecodedBytes(octets) + 3];
        var isTaken = StrictBase64.TryDecode(octets, room, out var length);
        var expected = Decode(text);
        Promise(isTaken == expected is not null, $"{text} is taken: {isTaken}");
        Promise(!isTaken || room.AsSpan(0, length).SequenceEqual(expected), $"{text} is decoded wrongly");
        Promise(!isTaken || length == 0 || !StrictBase64.TryDecode(octets, room.AsSpan(0, length - 1), out _),
            "decoded into too little room");
    }

    /// <summary>Base64 in its one spelling.</summary>
    private static byte[]? Decode(string text)
    {
        if (!Base64().IsMatch(text) || text.Length % 4 != 0)
        {
            return null;
        }
        var octets = Convert.FromBase64String(text);
        return Convert.ToBase64String(octets) == text ? octets : null;
    }

    [GeneratedRegex(@"^[A-Za-z0-9+/]*={0,2}\z", RegexOptions.NonBacktracking)]
    private static partial Regex Base64();
}

/// <summary>Logging in, without a protocol around it.</summary>
public sealed class SaslFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new SaslTarget();
}
