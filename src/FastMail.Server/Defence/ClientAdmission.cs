using System.Net;
using FastMail.Net;

namespace FastMail.Server.Defence;

/// <summary>
/// The door: counts the connections of each client over all listeners and refuses what is over its limits, unless the
/// client is exempt. Owned by the server; loop thread only.
/// </summary>
internal sealed class ClientAdmission : IAdmission
{
    private readonly ClientLimits _limits;
    private readonly Exemptions _exemptions;
    private readonly TimeProvider _clock;
    private readonly long _started;
    private readonly ClientTable _table;

    public ClientAdmission(ClientLimits limits, Exemptions exemptions, TimeProvider clock)
    {
        _limits = limits;
        _exemptions = exemptions;
        _clock = clock;
        _started = clock.GetTimestamp();
        _table = new ClientTable(limits.Remembered, limits.NewAtOnce, limits.NewPerMinute);
    }

    /// <summary>Connections refused so far.</summary>
    public long Refused { get; private set; }

    public bool TryEnter(IPAddress client)
    {
        if (_exemptions.Contains(client))
        {
            return true;
        }

        var host = ClientNetwork.Host(client);
        var network = ClientNetwork.Of(client);
        bool isCrowded = IsOver(_table.Open(host), _limits.PerAddress)
            || (network.IsWhole && IsOver(_table.Open(network), _limits.PerNetwork));
        var now = (long)_clock.GetElapsedTime(_started).TotalMilliseconds;

        // A refused connection spends its token too: who hammers at a closed door keeps it closed.
        if (!_table.TrySpend(network, now) || isCrowded)
        {
            Refused++;
            return false;
        }

        _table.Enter(host, now);
        if (network.IsWhole)
        {
            _table.Enter(network, now);
        }

        return true;
    }

    public void Leave(IPAddress client)
    {
        if (_exemptions.Contains(client))
        {
            return;
        }

        _table.Leave(ClientNetwork.Host(client));
        var network = ClientNetwork.Of(client);
        if (network.IsWhole)
        {
            _table.Leave(network);
        }
    }

    private static bool IsOver(int open, int limit) => limit > 0 && open >= limit;
}
