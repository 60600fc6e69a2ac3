using System.Text;
using FastMail.Storage;

namespace FastMail.Server.Queue;

/// <summary>
/// What happened to the recipients of one message, for people: the changes of the queue, and in front of the first that
/// went another way than those before it, where that leads. Belongs to one telling; one thread.
/// </summary>
internal sealed class QueueSteps
{
    private readonly Envelope _envelope;
    private readonly Dictionary<uint, string> _routes = []; // told last

    public QueueSteps(Envelope envelope) => _envelope = envelope;

    /// <param name="events">The oldest first.</param>
    public IEnumerable<QueueStep> Tell(IEnumerable<QueueEvent> events)
    {
        foreach (QueueEvent happened in events)
        {
            DateTimeOffset time = DateTimeOffset.UnixEpoch.AddMicroseconds(happened.TimeMicros);
            foreach (QueueStep routed in TellRoute(time, happened.Recipient, TextOf(happened.Route)))
            {
                yield return routed;
            }

            string? said = QueueReader.TextOf(happened);
            yield return new QueueStep(
                time,
                AddressOf(happened.Recipient),
                QueueReader.NameOf(happened.State),
                QueueReader.DueOf(happened.State, happened.DueMicros),
                happened.ForwardPath.IsEmpty ? said : $"redirected to <{TextOf(happened.ForwardPath)}> {said}".TrimEnd(),
                TextOf(happened.Tls));
        }
    }

    /// <summary>Nothing when that was told last.</summary>
    public IEnumerable<QueueStep> TellRoute(DateTimeOffset time, uint recipient, string? route)
    {
        if (route is not null && _routes.GetValueOrDefault(recipient) != route)
        {
            _routes[recipient] = route;
            yield return new QueueStep(time, AddressOf(recipient), "routed", null, route);
        }
    }

    private string? AddressOf(uint recipient) =>
        recipient == QueueChange.AllRecipients ? null
        : _envelope.Recipients.TryGetValue(recipient, out (string Address, string? Notify) given) ? given.Address
        : "?";

    private static string? TextOf(ReadOnlyMemory<byte> text) => text.IsEmpty ? null : Encoding.UTF8.GetString(text.Span);
}
