namespace FastMail.LoadTest.Cli;

/// <summary>What the program tells its caller; the values above 1 are those of sysexits.h.</summary>
internal static class ExitCode
{
    /// <summary>Everything asked for was done and acknowledged, or verified.</summary>
    internal const int Ok = 0;

    /// <summary>The run is over, but something was refused, lost, doubled or damaged.</summary>
    internal const int NotAllWell = 1;

    /// <summary>EX_USAGE: the command line makes no sense.</summary>
    internal const int Usage = 64;

    /// <summary>EX_DATAERR: the ledger is not a ledger.</summary>
    internal const int BadLedger = 65;

    /// <summary>EX_IOERR: a file or the kernel failed.</summary>
    internal const int InputOutput = 74;
}
