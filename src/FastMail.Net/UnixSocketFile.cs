using System.Net.Sockets;

namespace FastMail.Net;

/// <summary>The file of a unix socket at start: whose it is, and who may open it. Stateless; any thread.</summary>
internal static class UnixSocketFile
{
    private const int NoSuchDevice = 6; // ENXIO
    private const UnixFileMode Mode =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;

    /// <summary>Binds in place of a file that nobody listens behind any more; does not listen yet.</summary>
    /// <exception cref="SocketException">Somebody listens there, or the path is none of ours.</exception>
    /// <exception cref="IOException">Something else than a socket is there.</exception>
    public static void Bind(Socket socket, UnixDomainSocketEndPoint endPoint)
    {
        string path = endPoint.ToString();
        if (IsStale(endPoint, path))
        {
            File.Delete(path);
        }

        socket.Bind(endPoint);
        File.SetUnixFileMode(path, Mode); // nobody can have connected yet: it does not listen before this
    }

    /// <summary>Asked by connecting: a file alone does not tell whether its process lives.</summary>
    private static bool IsStale(UnixDomainSocketEndPoint endPoint, string path)
    {
        if (!File.Exists(path))
        {
            return false;
        }

        if (!IsSocket(path))
        {
            throw new IOException("there is a file that is no socket");
        }

        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(endPoint);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            return true;
        }

        throw new SocketException((int)SocketError.AddressAlreadyInUse);
    }

    private static bool IsSocket(string path)
    {
        // Opening tells them apart: a socket cannot be opened at all. For writing too, or a pipe would keep us waiting.
        try
        {
            File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite).Dispose();
            return false;
        }
        catch (IOException e) when (e.HResult == NoSuchDevice)
        {
            return true;
        }
    }
}
