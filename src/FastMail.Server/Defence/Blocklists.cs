using System.Net;
using FastMail.Protocol.Dns;
using FastMail.Server.Dns;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Defence;

/// <summary>The blocklists of this server and who answers for them. Owned by the server; loop thread only.</summary>
internal sealed class Blocklists
{
    private readonly IReadOnlyList<BlocklistZone> _zones;
    private readonly StubResolver _resolver;
    private readonly ILogger _log;

    public Blocklists(IReadOnlyList<BlocklistZone> zones, StubResolver resolver, ILogger log)
    {
        _zones = zones;
        _resolver = resolver;
        _log = log;
    }

    /// <summary>Begins to ask all lists at once about one client.</summary>
    /// <param name="client">Who has connected.</param>
    /// <param name="judged">Called once when the answers are in, unless they are known already.</param>
    public BlocklistInquiry Ask(IPAddress client, Action judged)
    {
        var inquiry = new BlocklistInquiry(_zones, client, judged, _log);
        inquiry.Begin(_resolver);
        return inquiry;
    }
}

/// <summary>
/// What the blocklists say of the client of one connection: made when it comes, dropped when it goes. Lists are right in
/// the order in which the operator named them, so that the same client hears the same reason. Loop thread only.
/// </summary>
internal sealed class BlocklistInquiry : IDnsAsker
{
    private readonly IReadOnlyList<BlocklistZone> _zones;
    private readonly IPAddress _client;
    private readonly DnsAnswer?[] _answers;
    private readonly ILogger _log;
    private Action? _judged;
    private bool _isLogged;

    public BlocklistInquiry(IReadOnlyList<BlocklistZone> zones, IPAddress client, Action judged, ILogger log)
    {
        _zones = zones;
        _client = client;
        _judged = judged;
        _answers = new DnsAnswer?[zones.Count];
        _log = log;
    }

    /// <summary>The answers are not in yet.</summary>
    public bool IsPending { get; private set; } = true;

    /// <summary>The list that names the client, when that is known; null when none does or nobody could say.</summary>
    public BlocklistZone? Listing { get; private set; }

    public void Begin(StubResolver resolver)
    {
        for (int i = 0; i < _zones.Count; i++)
        {
            _answers[i] = resolver.Ask(_zones[i].NameOf(_client), DnsType.A, this, i);
        }

        Judge();
    }

    /// <summary>The connection has gone: nobody wants to hear.</summary>
    public void Drop() => _judged = null;

    /// <summary>A recipient is refused for the listing; told to the operator once a connection.</summary>
    public void Refused()
    {
        if (!_isLogged)
        {
            _isLogged = true;
            _log.LogInformation("client {Client} is listed by {Zone}: its recipients are refused", _client, Listing!.Name);
        }
    }

    void IDnsAsker.Answered(int number, DnsAnswer answer)
    {
        _answers[number] = answer;
        Judge();
        if (!IsPending)
        {
            Action? judged = _judged;
            _judged = null;
            judged?.Invoke();
        }
    }

    /// <summary>Settled as soon as no answer that is still to come could change it.</summary>
    private void Judge()
    {
        for (int i = 0; i < _zones.Count && IsPending; i++)
        {
            if (_answers[i] is not { } answer)
            {
                return;
            }

            if (_zones[i].Lists(answer))
            {
                Listing = _zones[i];
                IsPending = false;
            }
        }

        IsPending = false;
    }
}
