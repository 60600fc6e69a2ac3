using System.Globalization;
using FastMail.Server.Accounts;

namespace FastMail.Server.Queue;

/// <summary>
/// Which recipients of the queue are meant: those that fit everything that is said here. Immutable.
/// </summary>
internal sealed record QueueSelector
{
    /// <summary>Transaction ids; any of them. Empty: any message.</summary>
    public IReadOnlyList<string> Ids { get; init; } = [];

    /// <summary>Domains of recipients; any of them. Empty: any domain.</summary>
    public IReadOnlyList<string> ToDomains { get; init; } = [];

    /// <summary>The reverse-path, <c>@domain</c>, or <c>&lt;&gt;</c> for the null reverse-path; null for any.</summary>
    public string? From { get; init; }

    /// <summary>Received so long ago or longer.</summary>
    public TimeSpan Age { get; init; }

    /// <summary>Stands in what was said last, in any case of letters; null for any.</summary>
    public string? Reply { get; init; }

    /// <summary>ready, deferred or held; null for any.</summary>
    public string? State { get; init; }

    /// <summary>Only those that this would change as they stand; null for any.</summary>
    public QueueAction? Would { get; init; }

    /// <summary>Why this means nobody in particular; null when it is sound. A value that is empty may have been meant to hold one.</summary>
    public string? Flaw =>
        new (string Name, IEnumerable<string?> Values)[]
        {
            ("id", Ids), ("to-domain", ToDomains), ("from", [From]), ("reply", [Reply]), ("state", [State]),
        }
        .Where(said => said.Values.Any(value => value is not null && string.IsNullOrWhiteSpace(value)))
        .Select(said => $"the value of {said.Name} is empty; leave it out to mean any")
        .FirstOrDefault();

    /// <summary>Nothing is said: everything fits.</summary>
    public bool IsEmpty =>
        Ids.Count == 0 && ToDomains.Count == 0 && From is null && Age == TimeSpan.Zero && Reply is null && State is null;

    /// <summary>From the parameters of a request; <see cref="ToQuery"/> is the other way.</summary>
    /// <param name="values">The values of a name.</param>
    /// <exception cref="FormatException">A parameter is malformed.</exception>
    public static QueueSelector Of(Func<string, IEnumerable<string?>> values)
    {
        string? One(string name) => values(name).FirstOrDefault();
        string age = One("age") ?? "0";
        if (!long.TryParse(age, NumberStyles.None, CultureInfo.InvariantCulture, out long seconds) || seconds > int.MaxValue)
        {
            throw new FormatException($"age '{age}' is not a number of seconds");
        }

        string? would = One("would");
        if (would is not null && !Enum.GetNames<QueueAction>().Contains(would, StringComparer.OrdinalIgnoreCase))
        {
            throw new FormatException($"would '{would}' is not an action");
        }

        var selector = new QueueSelector
        {
            Ids = [.. values("id").OfType<string>()],
            ToDomains = [.. values("to-domain").OfType<string>()],
            From = One("from"),
            Age = TimeSpan.FromSeconds(seconds),
            Reply = One("reply"),
            State = One("state"),
            Would = would is null ? null : Enum.Parse<QueueAction>(would, ignoreCase: true),
        };
        return selector.Flaw is { } flaw ? throw new FormatException(flaw) : selector;
    }

    /// <summary>As the query of a request, without the question mark; begins with an ampersand unless it is empty.</summary>
    public string ToQuery()
    {
        List<(string Name, string? Value)> all =
        [
            .. Ids.Select(id => ("id", (string?)id)),
            .. ToDomains.Select(domain => ("to-domain", (string?)domain)),
            ("from", From),
            ("age", Age == TimeSpan.Zero ? null : ((long)Age.TotalSeconds).ToString(CultureInfo.InvariantCulture)),
            ("reply", Reply),
            ("state", State),
            ("would", Would?.ToString().ToLowerInvariant()),
        ];
        return string.Concat(all.Where(p => p.Value is not null).Select(p => $"&{p.Name}={Uri.EscapeDataString(p.Value!)}"));
    }

    /// <summary>What needs no look at the message itself: most of a long queue is passed over by this alone.</summary>
    public bool MayFit(string state, DateTimeOffset arrived, DateTimeOffset now) =>
        (State is null || State == state) && now - arrived >= Age;

    /// <summary>All but what was said last.</summary>
    public bool FitsButReply(QueueEntry entry, DateTimeOffset now) =>
        MayFit(entry.State, entry.Arrived, now)
        && (Ids.Count == 0 || Ids.Contains(entry.Id, StringComparer.OrdinalIgnoreCase))
        && (ToDomains.Count == 0 || ToDomains.Any(domain => KeyOf(domain) == KeyOf(entry.Domain)))
        && FitsFrom(entry.From);

    public bool FitsReply(string? reply) => Reply is null || reply?.Contains(Reply, StringComparison.OrdinalIgnoreCase) == true;

    private bool FitsFrom(string from) => From switch
    {
        null => true,
        "<>" => from.Length == 0,
        ['@', ..] => from.Length > 0 && KeyOf(from[(from.LastIndexOf('@') + 1)..]) == KeyOf(From[1..]),
        _ => from.Length > 0 && AddressKey.Of(from) == AddressKey.Of(From),
    };

    /// <summary>One spelling for a domain, without an at sign.</summary>
    private static string KeyOf(string domain) =>
        AddressKey.Of("@" + domain.TrimStart('@'))?[1..] ?? domain.ToLowerInvariant();
}
