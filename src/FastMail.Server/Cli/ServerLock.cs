namespace FastMail.Server.Cli;

/// <summary>Whether a server runs on a data directory.</summary>
internal static class ServerLock
{
    public static bool IsHeld(string dataDirectory)
    {
        string path = Path.Combine(dataDirectory, "LOCK");
        if (!File.Exists(path))
        {
            return false;
        }

        try
        {
            // FileShare.None takes the same flock as the mail log does; it is given back at once.
            using var probe = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            return false;
        }
        catch (IOException)
        {
            return true;
        }
    }
}
