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
/// Asks recursive resolvers and remembers what they said. No thread waits for an answer. Questions that are alike share
/// one exchange; exchanges, those that wait for their turn, answers remembered and time are bounded, and what is over a
/// bound has failed. Owned by the server; loop thread only.
/// </summary>
internal sealed class StubResolver : IDisposable
{
    private static readonly TimeSpan LongestMemory = TimeSpan.FromHours(1);
    private static readonly TimeSpan ShortestMemory = TimeSpan.FromSeconds(5); // against names whose lifetime is 0

    private readonly EventLoop _loop;
    private readonly ResolverOptions _options;
    private readonly Dictionary<Question, DnsExchange> _underWay = []; // and those that wait
    private readonly Queue<(DnsExchange Exchange, TimeSpan Since)> _waiting = new();
    private readonly Dictionary<Question, Remembered> _memory = [];
    private readonly Queue<Question> _oldest = new(); // each question of the memory once
    private long _rememberedBytes;

    public StubResolver(EventLoop loop, ResolverOptions options)
    {
        _loop = loop;
        _options = options;
    }

    /// <summary>Exchanges under way, those that wait for their turn not counted.</summary>
    public int UnderWay => _underWay.Count - _waiting.Count;

    /// <summary>Answers remembered.</summary>
    public int RememberedAnswers => _memory.Count;

    /// <summary>
    /// The answer if it is remembered; otherwise null, and the asker is told later, never inside this call.
    /// </summary>
    /// <param name="name">ASCII with dots; one that is no name has no answer.</param>
    /// <param name="type">What is wanted; of types whose data holds names MX and PTR.</param>
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
            bool mustWait = UnderWay >= _options.MaxUnderWay;
            if ((mustWait && _waiting.Count >= _options.MaxWaiting) || !DnsExchange.TryMake(this, question, out exchange))
            {
                return DnsAnswer.Failed;
            }

            _underWay.Add(question, exchange);
            if (mustWait)
            {
                _waiting.Enqueue((exchange, _loop.Elapsed));
            }
            else
            {
                exchange.Begin();
            }
        }

        exchange.Askers.Add((asker, number));
        return null;
    }

    /// <summary>For how long an answer is still remembered; 0 for one that is not, as all failures.</summary>
    public TimeSpan LifetimeOf(string name, DnsType type) =>
        _memory.TryGetValue(new Question(name, type), out Remembered remembered) && remembered.Until > _loop.Elapsed
            ? remembered.Until - _loop.Elapsed
            : TimeSpan.Zero;

    /// <summary>The next question about it is asked anew.</summary>
    public void Forget(string name, DnsType type)
    {
        var question = new Question(name, type);
        if (_memory.TryGetValue(question, out Remembered remembered))
        {
            _memory[question] = remembered with { Until = TimeSpan.Zero }; // its place in the order stays
        }
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
        if (!_options.TrustsProofs)
        {
            answer = answer.Unproven();
        }

        if (answer.Outcome != DnsOutcome.Failed)
        {
            Remember(exchange.Question, answer);
        }

        BeginWaiting();
        foreach ((IDnsAsker asker, int number) in exchange.Askers)
        {
            asker.Answered(number, answer);
        }
    }

    private void BeginWaiting()
    {
        while (UnderWay < _options.MaxUnderWay && _waiting.TryDequeue(out (DnsExchange Exchange, TimeSpan Since) next))
        {
            if (_loop.Elapsed - next.Since < _options.Timeout)
            {
                next.Exchange.Begin();
            }
            else
            {
                next.Exchange.GiveUp(); // so a dead server cannot keep askers for longer than twice the time-out
            }
        }
    }

    private void Remember(in Question question, DnsAnswer answer)
    {
        TimeSpan lifetime = TimeSpan.FromSeconds(answer.Seconds);
        lifetime = lifetime > LongestMemory ? LongestMemory : lifetime < ShortestMemory ? ShortestMemory : lifetime;
        if (_memory.TryGetValue(question, out Remembered before))
        {
            _rememberedBytes -= before.Answer.DataBytes;
        }
        else
        {
            _oldest.Enqueue(question);
        }

        _memory[question] = new Remembered(answer, _loop.Elapsed + lifetime);
        _rememberedBytes += answer.DataBytes;
        while (_memory.Count > _options.MaxRemembered || _rememberedBytes > _options.MaxRememberedBytes)
        {
            _memory.Remove(_oldest.Dequeue(), out Remembered oldest);
            _rememberedBytes -= oldest.Answer.DataBytes;
        }
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

    /// <summary>Questions that wait until one of those has ended.</summary>
    public int MaxWaiting { get; init; }

    /// <summary>Answers kept, about 300 octets each and their data.</summary>
    public int MaxRemembered { get; init; } = 16_384;

    /// <summary>Octets of that data: so hostile answers of 64 long names each cannot fill the memory.</summary>
    public int MaxRememberedBytes { get; init; } = 16 << 20;

    /// <summary>The servers check DNSSEC and nobody stands between them and us: their AD bit is a proof.</summary>
    public bool TrustsProofs { get; init; }
}
