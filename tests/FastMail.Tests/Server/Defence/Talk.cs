using System.Net.Sockets;
using System.Text;

namespace FastMail.Tests.Server.Defence;

/// <summary>A blocking client that reads lines and ends, for tests of what the server does to slow or rude ones.</summary>
internal static class Talk
{
    /// <summary>One line with its CRLF, octet by octet so that nothing behind it is lost.</summary>
    public static string ReadLine(Socket socket)
    {
        StringBuilder line = new();
        byte[] octet = new byte[1];
        while (socket.Receive(octet) == 1)
        {
            line.Append((char)octet[0]);
            if (octet[0] == '\n')
            {
                break;
            }
        }

        return line.ToString();
    }

    /// <summary>Everything until the server closes; a reset is an end too.</summary>
    public static string ReadToEnd(Socket socket)
    {
        StringBuilder text = new();
        byte[] buffer = new byte[64 * 1024];
        try
        {
            for (int received; (received = socket.Receive(buffer)) > 0;)
            {
                text.Append(Encoding.Latin1.GetString(buffer, 0, received));
            }
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            text.Append("(reset)");
        }

        return text.ToString();
    }

    public static void Send(Socket socket, string text) => socket.Send(Encoding.Latin1.GetBytes(text));

    /// <summary>Sends an octet every 50 ms until the server has said or closed something.</summary>
    public static async Task DripAsync(Socket socket)
    {
        while (!socket.Poll(50_000, SelectMode.SelectRead))
        {
            Send(socket, "x");
            await Task.Yield();
        }
    }

    /// <summary>Waits for what another thread brings about.</summary>
    public static async Task UntilAsync(Func<bool> isTrue)
    {
        while (!isTrue())
        {
            await Task.Delay(10);
        }
    }
}
