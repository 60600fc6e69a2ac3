using System.Net;
using System.Net.Sockets;
using FastMail.Net;
using Xunit;

namespace FastMail.Tests.Net;

/// <summary>Listeners at a path: who is served, and what becomes of the file.</summary>
public sealed class UnixSocketTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fastmail-unix-").FullName;

    private string PathOfSocket => Path.Join(_folder, "s");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_process_of_this_machine_is_served_and_the_file_goes_with_the_loop()
    {
        using (LoopFixture fixture = new())
        {
            fixture.Loop.ListenLocally(new UnixDomainSocketEndPoint(PathOfSocket), fixture.Handlers);
            Assert.Equal(
                UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite,
                File.GetUnixFileMode(PathOfSocket));
            using Socket client = Connect();
            byte[] greeting = new byte[7];
            client.ReceiveExactly(greeting);
            Assert.Equal("hello\r\n"u8, greeting);
            Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
            Assert.Equal(
                (true, new IPEndPoint(IPAddress.Loopback, 0), null),
                fixture.OnLoop(() => (
                    handler.Connection!.IsLocal, handler.Connection.RemoteEndPoint, handler.Connection.LocalEndPoint)));
        }

        Assert.False(File.Exists(PathOfSocket));
    }

    [Fact]
    public void A_path_where_somebody_listens_is_in_use_and_one_where_nobody_does_any_more_is_taken_over()
    {
        using LoopFixture fixture = new();
        var endPoint = new UnixDomainSocketEndPoint(PathOfSocket);
        fixture.Loop.ListenLocally(endPoint, fixture.Handlers);
        SocketException inUse = Assert.Throws<SocketException>(() => fixture.Loop.ListenLocally(endPoint, fixture.Handlers));
        Assert.Equal(SocketError.AddressAlreadyInUse, inUse.SocketErrorCode);

        string stale = Path.Join(_folder, "stale");
        using (var dead = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            dead.Bind(new UnixDomainSocketEndPoint(stale)); // and never listens, as after a kill
            fixture.Loop.ListenLocally(new UnixDomainSocketEndPoint(stale), fixture.Handlers);
            using Socket client = Connect(stale);
        }
    }

    [Fact]
    public void Another_file_is_never_removed()
    {
        using LoopFixture fixture = new();
        File.WriteAllText(PathOfSocket, "precious");
        Assert.Throws<IOException>(
            () => fixture.Loop.ListenLocally(new UnixDomainSocketEndPoint(PathOfSocket), fixture.Handlers));
        Assert.Equal("precious", File.ReadAllText(PathOfSocket));
    }

    private Socket Connect(string? path = null)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.ReceiveTimeout = (int)LoopFixture.Patience.TotalMilliseconds;
        socket.Connect(new UnixDomainSocketEndPoint(path ?? PathOfSocket));
        return socket;
    }
}

/// <summary>What streams have and sockets have not.</summary>
file static class SocketReading
{
    public static void ReceiveExactly(this Socket socket, Span<byte> octets)
    {
        while (!octets.IsEmpty)
        {
            int received = socket.Receive(octets);
            Assert.NotEqual(0, received);
            octets = octets[received..];
        }
    }
}
