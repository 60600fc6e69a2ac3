namespace FastMail.Storage;

/// <summary>Another process has the data directory open. Thrown by <see cref="MailLog.Open"/>.</summary>
public sealed class DataDirectoryInUseException : IOException
{
    /// <summary>No text.</summary>
    public DataDirectoryInUseException()
    {
    }

    /// <summary>With a text for the operator.</summary>
    public DataDirectoryInUseException(string message)
        : base(message)
    {
    }

    /// <summary>With a text for the operator and a cause.</summary>
    public DataDirectoryInUseException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}

/// <summary>The store needs a newer program; nothing was touched. Thrown by <see cref="MailLog.Open"/>.</summary>
public sealed class IncompatibleFormatException : IOException
{
    /// <summary>No text.</summary>
    public IncompatibleFormatException()
    {
    }

    /// <summary>With a text for the operator.</summary>
    public IncompatibleFormatException(string message)
        : base(message)
    {
    }

    /// <summary>With a text for the operator and a cause.</summary>
    public IncompatibleFormatException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}

/// <summary>
/// Acknowledged mail is damaged on disk, so this is no crash to recover from; nothing was modified. Thrown by
/// <see cref="MailLog.Open"/>.
/// </summary>
public sealed class DamagedLogException : IOException
{
    /// <summary>No text.</summary>
    public DamagedLogException()
    {
    }

    /// <summary>With a text for the operator.</summary>
    public DamagedLogException(string message)
        : base(message)
    {
    }

    /// <summary>With a text for the operator and a cause.</summary>
    public DamagedLogException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
