using System.Net;

namespace FastMail.Server.Defence;

/// <summary>A test's hook into each turn of a session; throws.</summary>
internal delegate void SessionFault(ReadOnlySpan<byte> received);

/// <summary>What all sessions are held to, shared by their handlers. Loop thread only.</summary>
internal sealed class SessionPolicy
{
    public required SessionTimes Times { get; init; }

    public required Exemptions Exemptions { get; init; }

    public required Stress Stress { get; init; }

    /// <summary>Told of an exception that escaped a session, which is then closed.</summary>
    public required Action<Exception> Failed { get; init; }

    /// <summary>Stands for a mistake of ours in tests; sees the input of each turn.</summary>
    public SessionFault? Fault { get; set; }

    public TimeSpan CommandTime => Stress.IsOn ? Times.StressCommand : Times.Command;

    public TimeSpan Pop3LoginTime => Stress.IsOn ? Times.StressCommand : Times.Pop3Login;

    /// <summary>No delay and no throttle for this client.</summary>
    public bool IsExempt(IPAddress client) => Exemptions.Contains(client);
}
