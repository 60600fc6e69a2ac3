namespace FastMail.Server.Cli;

/// <summary>Exit codes of every verb, from sysexits.h.</summary>
internal static class ExitCode
{
    public const int Ok = 0;

    /// <summary>EX_USAGE: the command line is wrong.</summary>
    public const int Usage = 64;

    /// <summary>EX_DATAERR: the data given or stored is wrong.</summary>
    public const int DataError = 65;

    /// <summary>EX_NOINPUT: what should be read is not there.</summary>
    public const int NoInput = 66;

    /// <summary>EX_NOUSER: no such account.</summary>
    public const int NoUser = 67;

    /// <summary>EX_NOHOST: mail cannot go there.</summary>
    public const int NoHost = 68;

    /// <summary>EX_CANTCREAT: it exists already, or cannot be made.</summary>
    public const int CannotCreate = 73;

    /// <summary>EX_IOERR: reading or writing failed.</summary>
    public const int IoError = 74;

    /// <summary>EX_TEMPFAIL: somebody else has it now; try again later.</summary>
    public const int TemporaryFailure = 75;

    /// <summary>Ended by Ctrl-C or SIGTERM before all was done; what a shell says of SIGINT.</summary>
    public const int Interrupted = 130;

    /// <summary>EX_CONFIG: something is configured wrongly.</summary>
    public const int Configuration = 78;
}
