using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using FastMail.Server;
using FastMail.Server.Accounts;
using FastMail.Server.Configuration;
using FastMail.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace FastMail.Tests.Server;

/// <summary>A whole server in this process, on free ports, with the accounts u and v at local.test.</summary>
internal sealed class ServerFixture : IAsyncDisposable
{
    public const string Password = "secret";

    private readonly string _directory = System.IO.Directory.CreateTempSubdirectory("fastmail-server-").FullName;

    private Func<Task<MailServer>> _start = null!;

    private ServerFixture()
    {
    }

    public MailServer Server { get; private set; } = null!;

    public string Directory => _directory;

    public FastMail.Storage.MailLog Log => Server.MailLog;

    /// <param name="more">Settings as <c>key=value</c>; they win over the fixture's own.</param>
    public static Task<ServerFixture> StartAsync(params string[] more) => StartAsync(TimeProvider.System, more);

    public static Task<ServerFixture> StartAsync(TimeProvider clock, params string[] more) =>
        StartAsync(clock, LinuxDisk.Instance, more);

    public static async Task<ServerFixture> StartAsync(TimeProvider clock, IDisk disk, params string[] more)
    {
        var fixture = new ServerFixture();
        using (AccountStore store = AccountStore.Open(fixture._directory))
        {
            foreach (string address in new[] { "u@local.test", "v@local.test" })
            {
                store.TryAdd(address, PasswordHash.Create(Encoding.ASCII.GetBytes(Password), iterations: 10), DateTimeOffset.UnixEpoch);
            }
        }

        Assignment[] settings =
        [
            new("server.hostname", "mx.local.test", "test"),
            new("listen.mx", "127.0.0.1:0", "test"),
            new("listen.submission", "127.0.0.1:0", "test"),
            new("listen.pop3", "127.0.0.1:0", "test"),
            new("listen.submissions", "127.0.0.1:0", "test"),
            new("listen.pop3s", "127.0.0.1:0", "test"),
            new("store.segment_size", "64MiB", "test"),
            new("limits.message_size", "10MiB", "test"),
            new("limits.exempt", "127.0.0.0/8", "test"),
            .. more.Select(text => text.Split('=', 2)).Select(parts => new Assignment(parts[0], parts[1], "test")),
        ];
        fixture._start = () => MailServer.StartAsync(
            fixture._directory,
            Settings.Load(null, settings),
            clock,
            NullLogger.Instance,
            disk);
        fixture.Server = await fixture._start();
        return fixture;
    }

    /// <summary>What the server would leave of the messages in hand if it died now.</summary>
    public byte[] InHand => File.ReadAllBytes(Path.Join(_directory, FastMail.Server.InHand.FileName));

    /// <summary>Stops the server and starts it once more on the same store; its ports are others then.</summary>
    /// <param name="inHand">What it leaves behind as if it had died; null for nothing.</param>
    public async Task RestartAsync(byte[]? inHand = null)
    {
        await Server.StopAsync();
        await Server.DisposeAsync();
        if (inHand is not null)
        {
            await File.WriteAllBytesAsync(Path.Join(_directory, FastMail.Server.InHand.FileName), inHand);
        }

        Server = await _start();
    }

    public Socket Connect(string role)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveTimeout = 30_000 };
        socket.Connect(Server.Listeners.EndPointOf(role)!);
        return socket;
    }

    /// <summary>A client behind the handshake and the greeting.</summary>
    /// <param name="role">Whose listener.</param>
    /// <param name="command">Asks for TLS behind the greeting in the clear; null where TLS comes first.</param>
    /// <param name="wrap">Puts something between the socket and TLS.</param>
    public async Task<SslStream> ConnectTlsAsync(string role, string? command = null, Func<NetworkStream, Stream>? wrap = null)
    {
        byte[] buffer = new byte[4096];
        Socket socket = Connect(role);
        if (command is not null)
        {
            Dialog.Say(socket, default, "\r\n"u8, buffer);
            Dialog.Say(socket, Encoding.ASCII.GetBytes(command), "\r\n"u8, buffer);
        }

        var transport = new NetworkStream(socket, ownsSocket: true);
        var tls = new SslStream(wrap is null ? transport : wrap(transport));
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "mx.local.test",
            RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null, // self-signed
        });
        if (command is null)
        {
            Dialog.Say(tls, default, "\r\n"u8, buffer);
        }

        return tls;
    }

    public async ValueTask DisposeAsync()
    {
        await Server.StopAsync();
        await Server.DisposeAsync();
        System.IO.Directory.Delete(_directory, recursive: true);
    }
}

/// <summary>Blocking dialogs over a socket without allocation once warm.</summary>
internal static class Dialog
{
    /// <inheritdoc cref="Say(Socket, ReadOnlySpan{byte}, ReadOnlySpan{byte}, byte[])"/>
    public static int Say(Stream stream, ReadOnlySpan<byte> sent, ReadOnlySpan<byte> end, byte[] buffer)
    {
        if (!sent.IsEmpty)
        {
            stream.Write(sent);
        }

        int length = 0;
        while (!buffer.AsSpan(0, length).EndsWith(end))
        {
            int received = stream.Read(buffer.AsSpan(length));
            if (received == 0)
            {
                throw new IOException("closed after: " + Encoding.ASCII.GetString(buffer, 0, length));
            }

            length += received;
        }

        return length;
    }

    /// <summary>Sends all, then reads until what came ends with <paramref name="end"/>; returns the octets read.</summary>
    public static int Say(Socket socket, ReadOnlySpan<byte> sent, ReadOnlySpan<byte> end, byte[] buffer)
    {
        while (!sent.IsEmpty)
        {
            sent = sent[socket.Send(sent)..];
        }

        int length = 0;
        while (!buffer.AsSpan(0, length).EndsWith(end))
        {
            int received = socket.Receive(buffer.AsSpan(length));
            if (received == 0)
            {
                throw new IOException("closed after: " + Encoding.ASCII.GetString(buffer, 0, length));
            }

            length += received;
        }

        return length;
    }
}
