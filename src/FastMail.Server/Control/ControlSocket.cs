using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FastMail.Server.Control;

/// <summary>
/// The unix socket <c>control.sock</c> of a data directory. Its address may have 107 octets, a data directory has any
/// length: so it is named through a descriptor of the directory. Owned by whoever opened it; any thread.
/// </summary>
internal sealed partial class ControlSocket : IDisposable
{
    public const string FileName = "control.sock";

    private const int PathOnly = 0x200000; // O_PATH
    private const int CloseOnExec = 0x80000;

    private readonly SafeFileHandle _directory;

    private ControlSocket(SafeFileHandle directory) => _directory = directory;

    /// <summary>An address of the socket, short whatever the directory is called; valid until this is disposed.</summary>
    public string Address => $"/proc/self/fd/{_directory.DangerousGetHandle()}/{FileName}";

    /// <exception cref="IOException">The directory cannot be opened.</exception>
    public static ControlSocket Of(string dataDirectory)
    {
        var directory = new SafeFileHandle(Open(dataDirectory, PathOnly | CloseOnExec), ownsHandle: true);
        if (directory.IsInvalid)
        {
            directory.Dispose();
            throw new IOException($"{dataDirectory}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
        }

        return new ControlSocket(directory);
    }

    /// <summary>
    /// A socket that listens here for its owner alone, in place of one that a killed server left behind. Only for the
    /// holder of the directory's lock: nobody else can be listening then.
    /// </summary>
    /// <exception cref="IOException">The old one cannot be removed.</exception>
    /// <exception cref="SocketException">The name cannot be bound.</exception>
    public Socket Listen()
    {
        Remove();
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint(Address));
            // Nobody can have connected yet: it does not listen before this.
            File.SetUnixFileMode(Address, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            socket.Listen();
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>A connection to whoever listens.</summary>
    /// <exception cref="SocketException">Nobody does.</exception>
    public NetworkStream Connect()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(Address));
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public void Remove() => File.Delete(Address);

    public void Dispose() => _directory.Dispose();

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);
}
