using System.Diagnostics;
using System.Globalization;
using System.Text;
using Xunit;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// Fuzzes one target: its corpus first, then mutations for so many runs or, when FUZZ_SECONDS says so, for so long. An
/// input that reaches something new joins the population. A failure is made small and printed in the form of a corpus
/// file, with the seed. Each target is a test class of its own, so that xunit runs one on each core.
/// </summary>
public abstract class FuzzRun
{
    private const int LargestPopulation = 2000;
    private const int LongestKept = 2500;
    private static readonly TimeSpan ShrinkTime = TimeSpan.FromSeconds(20);

    private readonly HashSet<string> _reached = new(StringComparer.Ordinal);
    private readonly List<byte[]> _population = [];

    internal abstract FuzzTarget Target { get; }

    [Fact]
    public void Every_input_of_the_corpus_is_borne()
    {
        foreach (var (file, input) in Corpus.Of(Target.Name))
        {
            var target = Target;
            if (Try(target, input, out _) is { } failure)
            {
                Assert.Fail($"{target.Name}: {file}: {failure}");
            }
        }
    }

    [Fact]
    public void No_mutation_breaks_a_promise()
    {
        var seed = Number("FUZZ_SEED") ?? (Number("FUZZ_SECONDS") is null ? 1 : Environment.TickCount);
        var random = new Random(seed);
        var target = Target;
        foreach (var (_, input) in Corpus.Of(target.Name))
        {
            _population.Add(input);
            Try(target, input, out var reached);
            _reached.Add(reached);
        }
        var time = Stopwatch.StartNew();
        var seconds = Number("FUZZ_SECONDS");
        var runs = 0;
        for (; seconds is { } limit ? time.Elapsed.TotalSeconds < limit : runs < target.QuickRuns; runs++)
        {
            var input = target.Make(random, _population);
            if (Try(target, input, out var reached) is { } failure)
            {
                Fail(target, seed, runs, input, failure);
            }
            if (_reached.Add(reached) && input.Length <= LongestKept)
            {
                Keep(input, random);
            }
        }
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"fuzz {target.Name}: seed {seed}, {runs} inputs, {_reached.Count} ends in {time.Elapsed.TotalSeconds:F1} s"));
    }

    private void Keep(byte[] input, Random random)
    {
        if (_population.Count < LargestPopulation)
        {
            _population.Add(input);
        }
        else
        {
            _population[random.Next(LargestPopulation)] = input;
        }
    }

    /// <summary>What was wrong, or null.</summary>
    private static Exception? Try(FuzzTarget target, byte[] input, out string reached)
    {
        try
        {
            reached = target.Run(input);
            return null;
        }
        catch (Exception e) // whatever it is, it is the finding
        {
            reached = "";
            return e;
        }
    }

    private static void Fail(FuzzTarget target, int seed, int run, byte[] input, Exception failure)
    {
        var small = Shrink(target, input, failure);
        failure = Try(target, small, out _) ?? failure;
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{target.Name}: FUZZ_SEED={seed}, run {run}: {failure.Message}\n");
        text.Append(CultureInfo.InvariantCulture, $"Keep it as tests/FastMail.Tests/Fuzz/Corpus/{target.Name}/NAME.txt:");
        text.Append(CultureInfo.InvariantCulture, $"\n\n{Corpus.Text(small)}\n\n{failure}");
        Assert.Fail(text.ToString());
    }

    /// <summary>Leaves out whatever the failure does not need, in ever smaller pieces.</summary>
    private static byte[] Shrink(FuzzTarget target, byte[] input, Exception failure)
    {
        var time = Stopwatch.StartNew();
        for (var piece = Math.Max(input.Length / 2, 1); piece > 0; piece = piece == 1 ? 0 : piece / 2)
        {
            var hasShrunk = true;
            while (hasShrunk && time.Elapsed < ShrinkTime)
            {
                hasShrunk = false;
                for (var at = 0; at < input.Length && time.Elapsed < ShrinkTime;)
                {
                    byte[] less = [.. input[..at], .. input[Math.Min(at + piece, input.Length)..]];
                    if (Try(target, less, out _) is { } same && same.GetType() == failure.GetType())
                    {
                        input = less;
                        hasShrunk = true;
                    }
                    else
                    {
                        at += piece;
                    }
                }
            }
        }
        return input;
    }

    private static int? Number(string variable) =>
        int.TryParse(
            Environment.GetEnvironmentVariable(variable), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : null;
}
