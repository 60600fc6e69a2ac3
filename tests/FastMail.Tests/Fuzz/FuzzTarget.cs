using FastMail.Tests.Protocol;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// One subject and the oracle that judges it. Deterministic: chance inside a run comes from the input itself, so that
/// the input alone brings a failure back. Owned by one run and its thread.
/// </summary>
/// <param name="name">Folder of its corpus.</param>
/// <param name="words">
/// The words of the grammar, with escapes: mutations are made of them, as chance alone would never spell one.
/// </param>
internal abstract class FuzzTarget(string name, params string[] words)
{
    private readonly byte[][] _words = [.. words.Select(Script.Octets)];

    public string Name => name;

    /// <summary>Runs in the unit tests, about two seconds' worth.</summary>
    public abstract int QuickRuns { get; }

    /// <summary>Octets beyond which an input is cut.</summary>
    protected virtual int LongestInput => 6000;

    /// <summary>
    /// Feeds the input and throws when a promise is broken. Returns where it led, in a few words: an input that leads
    /// somewhere new is kept and mutated further.
    /// </summary>
    public abstract string Run(byte[] input);

    /// <summary>The next input.</summary>
    public virtual byte[] Make(Random random, IReadOnlyList<byte[]> population) =>
        new Mutator(random, _words, LongestInput).Make(population);

    /// <summary>A random generator that the input seeds: FNV-1a.</summary>
    protected static Random ChanceOf(ReadOnlySpan<byte> input)
    {
        var hash = 2166136261u;
        foreach (var octet in input)
        {
            hash = (hash ^ octet) * 16777619;
        }
        return new Random((int)hash);
    }

    /// <summary>The promise, or its breach with what was seen.</summary>
    protected static void Promise(bool isKept, string promise)
    {
        if (!isKept)
        {
            throw new BrokenPromiseException(promise);
        }
    }
}

/// <summary>The oracle's verdict on an input.</summary>
internal sealed class BrokenPromiseException(string promise) : Exception(promise);
