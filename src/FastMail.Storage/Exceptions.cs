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
/// Acknowledged mail is damaged or missing in a way that cannot be stepped over safely; nothing was modified. Thrown
/// by <see cref="MailLog.Open"/>.
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

    internal static DamagedLogException At(Segment segment, long offset, string why)
    {
        return new DamagedLogException(
            $"{segment.Path}: acknowledged mail is damaged at offset {offset} (position 0x"
            + $"{segment.BaseLsn + (ulong)offset:x}): {why}. Nothing was modified; restore the file or ask for help");
    }
}
