using System.Net;
using FastMail.Net;
using FastMail.Protocol.Dns;

namespace FastMail.Server.Dns;

/// <summary>Waits for an answer; called on the loop thread, once.</summary>
internal interface IDnsAsker
{
    /// <summary>The question that was asked under this number has its answer, or never will.</summary>
    void Answered(int number, DnsAnswer answer);
}

/// <summary>
/// Asks recursive resolvers over UDP and remembers what they said. No thread waits for an answer. Questions that are
/// alike share one exchange; exchanges, answers remembered and time are bounded, and what is over a bound has failed.
/// Owned by the server; loop thread only.
/// </summary>
internal sealed class StubResolver : IDisposable
{
    private static readonly TimeSpan LongestMemory = TimeSpan.FromHours(1);
    private static readonly TimeSpan ShortestMemory = TimeSpan.FromSeconds(5); // against names whose lifetime is 0

    private readonly EventLoop _loop;
    private readonly ResolverOptions _options;
    private readonly Dictionary<Question, DnsExchange> _underWay = [];
    private readonly Dictionary<Question, Remembered> _memory = [];
    private readonly Queue<Question> _oldest = new(); // each question of the memory once

    public StubResolver(EventLoop loop, ResolverOptions options)
    {
        _loop = loop;
        _options = options;
    }

    /// <summary>Exchanges under way.</summary>
    public int UnderWay => _underWay.Count;

    /// <summary>Answers remembered.</summary>
    public int RememberedAnswers => _memory.Count;

    /// <summary>
    /// The answer if it is remembered; otherwise null, and the asker is told later, never inside this call.
    /// </summary>
    /// <param name="name">ASCII with dots; one that is no name has no answer.</param>
    /// <param name="type">A type whose data holds no names.</param>
    /// <param name="asker">Who wants to know.</param>
    /// <param name="number">Handed back to the asker.</param>
    public DnsAnswer? Ask(string name, DnsType type, IDnsAsker asker, int number)
    {
        var question = new Question(name, type);
        if (_memory.TryGetValue(question, out Remembered remembered) && remembered.Until > _loop.Elapsed)
        {
            return remembered.Answer;
        }

        if (!_underWay.TryGetValue(question, out DnsExchange? exchange))
        {
            if (_underWay.Count >= _options.MaxUnderWay || !DnsExchange.TryMake(this, question, out exchange))
            {
                return DnsAnswer.Failed;
            }

            _underWay.Add(question, exchange);
            exchange.Begin();
        }

        exchange.Askers.Add((asker, number));
        return null;
    }

    /// <summary>Ends what is under way without telling anybody. Any thread, once the loop has ended.</summary>
    public void Dispose()
    {
        foreach (DnsExchange exchange in _underWay.Values)
        {
            exchange.Dispose();
        }

        _underWay.Clear();
    }

    internal EventLoop Loop => _loop;

    internal ResolverOptions Options => _options;

    /// <summary>An exchange is over: its answer is remembered, and all who asked hear it.</summary>
    internal void Ended(DnsExchange exchange, DnsAnswer answer)
    {
        _underWay.Remove(exchange.Question);
        if (answer.Outcome != DnsOutcome.Failed)
        {
            Remember(exchange.Question, answer);
        }

        foreach ((IDnsAsker asker, int number) in exchange.Askers)
        {
            asker.Answered(number, answer);
        }
    }

    private void Remember(in Question question, DnsAnswer answer)
    {
        TimeSpan lifetime = TimeSpan.FromSeconds(answer.Seconds);
        lifetime = lifetime > LongestMemory ? LongestMemory : lifetime < ShortestMemory ? ShortestMemory : lifetime;
        if (!_memory.ContainsKey(question))
        {
            if (_memory.Count >= _options.MaxRemembered)
            {
                _memory.Remove(_oldest.Dequeue());
            }

            _oldest.Enqueue(question);
        }

        _memory[question] = new Remembered(answer, _loop.Elapsed + lifetime);
    }

    private readonly record struct Remembered(DnsAnswer Answer, TimeSpan Until);
}

/// <summary>What is asked: a name and a type. Immutable value.</summary>
internal readonly record struct Question(string Name, DnsType Type);

/// <summary>Whom a resolver asks and within which bounds. Immutable.</summary>
internal sealed record ResolverOptions
{
    /// <summary>Asked in turn; one at least.</summary>
    public required IReadOnlyList<IPEndPoint> Servers { get; init; }

    /// <summary>For all attempts of one question.</summary>
    public required TimeSpan Timeout { get; init; }

    /// <summary>Each goes to the next server and has its part of the time.</summary>
    public int Attempts => Math.Clamp(Servers.Count, 2, 3);

    /// <summary>Exchanges at a time; each has a socket.</summary>
    public int MaxUnderWay { get; init; } = 64;

    /// <summary>Answers kept, about 300 octets each.</summary>
    public int MaxRemembered { get; init; } = 16_384;
}
