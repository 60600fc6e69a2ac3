using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>The <c>errno</c> values the log tells apart, and their text. Stateless; any thread.</summary>
internal static class Errno
{
    public const int NotFound = 2;
    public const int Interrupted = 4;
    public const int InputOutput = 5;
    public const int WouldBlock = 11;
    public const int AccessDenied = 13;
    public const int Busy = 16;
    public const int Exists = 17;
    public const int Invalid = 22;
    public const int NoSpace = 28;
    public const int ReadOnly = 30;
    public const int NoSystemCall = 38;
    public const int NotSupported = 95;
    public const int OverQuota = 122;

    /// <summary>The system's text and the number, for operators.</summary>
    public static string Text(int errno)
    {
        return $"{Marshal.GetPInvokeErrorMessage(errno)} (errno {errno})";
    }

    /// <summary>There is no space left, on the disk or of what a quota allows.</summary>
    public static bool IsFull(int errno)
    {
        return errno is NoSpace or OverQuota;
    }

    /// <summary>
    /// Throws unless <paramref name="errno"/> is 0; for calls of Open and of tools, never of the appender.
    /// </summary>
    /// <exception cref="IOException">With what was tried, on which path, and why it failed.</exception>
    public static void Check(int errno, string what, string path)
    {
        if (errno != 0)
        {
            throw Failure(errno, what, path);
        }
    }

    public static IOException Failure(int errno, string what, string path)
    {
        return new IOException($"{what} {path}: {Text(errno)}", errno);
    }
}
