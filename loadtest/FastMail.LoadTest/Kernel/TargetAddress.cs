using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace FastMail.LoadTest.Kernel;

/// <summary>Where the load goes, or where a sink waits for it: HOST:PORT resolved once, with its sockaddr. Immutable; any thread.</summary>
internal sealed class TargetAddress
{
    private readonly byte[] _socketAddress;

    private TargetAddress(string host, IPEndPoint endPoint)
    {
        Host = host;
        EndPoint = endPoint;
        SocketAddress native = endPoint.Serialize();
        _socketAddress = GC.AllocateArray<byte>(native.Size, pinned: true);
        native.Buffer[..native.Size].Span.CopyTo(_socketAddress);
    }

    /// <summary>As it was said, without brackets.</summary>
    internal string Host { get; }

    internal IPEndPoint EndPoint { get; }

    /// <summary>AF_INET or AF_INET6.</summary>
    internal int Family => EndPoint.AddressFamily == AddressFamily.InterNetwork ? 2 : 10;

    /// <summary>A pinned struct sockaddr.</summary>
    internal ReadOnlySpan<byte> SocketAddress => _socketAddress;

    /// <summary>HOST:PORT or [IPv6]:PORT of a server.</summary>
    internal static bool TryParse(string text, out TargetAddress? address, out string error) =>
        TryParse(text, leastPort: 1, out address, out error);

    /// <summary>HOST:PORT or [IPv6]:PORT; a name takes its first address.</summary>
    /// <param name="text">What was said.</param>
    /// <param name="leastPort">0 where the system may choose the port.</param>
    /// <param name="address">What it means.</param>
    /// <param name="error">Or why it means nothing.</param>
    internal static bool TryParse(string text, int leastPort, out TargetAddress? address, out string error)
    {
        address = null;
        int colon = text.LastIndexOf(':');
        if (colon <= 0
            || !int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int port)
            || port < leastPort || port > 65535)
        {
            error = $"'{text}' is not HOST:PORT (for example 127.0.0.1:2525 or [::1]:2525)";
            return false;
        }

        string host = text[..colon].Trim('[', ']');
        try
        {
            IPAddress[] found = Dns.GetHostAddresses(host);
            if (found.Length > 0)
            {
                address = new TargetAddress(host, new IPEndPoint(found[0], port));
                error = "";
                return true;
            }

            error = $"host '{host}' has no address";
        }
        catch (SocketException failure)
        {
            error = $"host '{host}': {failure.Message}";
        }

        return false;
    }
}
