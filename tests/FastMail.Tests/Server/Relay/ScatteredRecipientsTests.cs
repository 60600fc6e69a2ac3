using System.Globalization;
using System.Text.RegularExpressions;
using FastMail.Server.Queue;
using FastMail.Tests.Server.Defence;
using Xunit;
using static FastMail.Tests.Server.Relay.ClockedRelay;

namespace FastMail.Tests.Server.Relay;

/// <summary>
/// Messages to many, whose recipients a moody host and an operator part and who meet again: each is delivered once or
/// goes back once, whatever happens on the way.
/// </summary>
public sealed partial class ScatteredRecipientsTests
{
    private const int Domains = 4;
    private const int Messages = 5;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(8)]
    public async Task Each_recipient_arrives_once_or_goes_back_once(int seed)
    {
        var clock = new HandClock();
        var random = new Random(seed);
        var mood = new Mood(seed);
        using var host = new ScriptedHost(mood.Answer, seed % 2 == 0 ? ["PIPELINING"] : []);
        string routes = string.Join(',', Enumerable.Range(0, Domains).Select(n => $"d{n}.test=127.0.0.1:{host.Port}"));
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            clock, $"route.table={routes}", "relay.retry_min=5min", "relay.retry_max=1h", "relay.delay_notice=0");
        List<string> all = [];
        for (int i = 0; i < Messages; i++)
        {
            string[] to = [.. Enumerable.Range(0, random.Next(2, 13)).Select(r => $"m{i}r{r}@d{random.Next(Domains)}.test")];
            all.AddRange(to);
            Submit(fixture, "RET=HDRS", to);
        }

        await SettleAsync(fixture, clock);
        for (int i = 0; i < 12; i++)
        {
            if (random.Next(3) == 0)
            {
                QueueAction action = random.Next(3) switch { 0 => QueueAction.Hold, 1 => QueueAction.Release, _ => QueueAction.Retry };
                var some = new QueueSelector { ToDomains = [$"d{random.Next(Domains)}.test"] };
                await fixture.Server.Queue.ApplyAsync(action, some, new QueueActionOptions(), CancellationToken.None);
                await SettleAsync(fixture, clock);
            }

            if (i == 7)
            {
                await fixture.RestartAsync();
                await SettleAsync(fixture, clock);
            }

            await AdvanceAsync(fixture, clock, TimeSpan.FromMinutes(random.Next(1, 50)));
        }

        mood.IsGood = true;
        await ApplyAsync(fixture, QueueAction.Release);
        for (int i = 0; i < 10 && fixture.Log.Queue.Recipients > 0; i++)
        {
            await AdvanceAsync(fixture, clock, TimeSpan.FromHours(2));
        }

        Assert.Equal(0, fixture.Log.Queue.Recipients);
        List<string> ended = [];
        while (host.Taken.TryTake(out TakenMail? mail))
        {
            ended.AddRange(mail.Recipients);
        }

        List<string> returned = [];
        for (int number = 1; number <= Mails(fixture); number++)
        {
            returned.AddRange(FinalRecipient().Matches(Retrieve(fixture, number)).Select(match => match.Groups["address"].Value));
        }

        Assert.Equal(Sorted(mood.Refused), Sorted(returned));
        Assert.Equal(Sorted(all), Sorted([.. ended, .. returned]));
        Assert.NotEmpty(returned);
        Assert.True(mood.PutOff > 20, mood.PutOff.ToString(CultureInfo.InvariantCulture)); // else it has parted nobody
    }

    private static string Sorted(IEnumerable<string> addresses) => string.Join(' ', addresses.Order(StringComparer.Ordinal));

    [GeneratedRegex("Final-Recipient: rfc822; (?<address>\\S+)\r\nAction: failed\r\n", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex FinalRecipient();

    /// <summary>What the host feels like. Any thread.</summary>
    private sealed class Mood(int seed)
    {
        private readonly Lock _gate = new();
        private readonly Random _random = new(seed);

        public bool IsGood { get; set; }

        public HashSet<string> Refused { get; } = new(StringComparer.Ordinal);

        public int PutOff { get; private set; }

        public string? Answer(string line)
        {
            lock (_gate)
            {
                int dice = _random.Next(100);
                if (line.StartsWith("RCPT", StringComparison.Ordinal) && (dice < 5 || Refused.Count == 0))
                {
                    Refused.Add(line.Split('<', '>')[1]);
                    return "550 5.1.1 nobody";
                }

                int share = PutOff > 20 ? 60 : 80; // enough of them, however the dice fall
                bool isPutOff = !IsGood && (line.StartsWith("RCPT", StringComparison.Ordinal) ? dice < share
                    : line == "." && dice < 20);
                PutOff += isPutOff ? 1 : 0;
                return isPutOff ? "451 4.2.0 later" : null;
            }
        }
    }
}
