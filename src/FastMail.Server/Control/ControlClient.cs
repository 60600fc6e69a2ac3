using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using FastMail.Server.Cli;
using FastMail.Storage;

namespace FastMail.Server.Control;

/// <summary>
/// A verb's way to the server that has its data directory open. Owned by the verb; one thread, which it blocks.
/// </summary>
internal sealed class ControlClient : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10); // a server that starts listens a little later

    private readonly ControlSocket _socket;
    private readonly HttpClient _http;

    private ControlClient(ControlSocket socket)
    {
        _socket = socket;
        _http = new HttpClient(new SocketsHttpHandler
        {
            UseProxy = false,
            ConnectCallback = (_, _) => ValueTask.FromResult<Stream>(socket.Connect()),
        })
        {
            BaseAddress = new Uri("http://control/"),
            Timeout = Timeout.InfiniteTimeSpan,
        };
    }

    /// <summary>Null when nobody has the directory open.</summary>
    /// <exception cref="ControlException">Somebody has, who does not answer.</exception>
    public static ControlClient? TryConnect(string dataDirectory)
    {
        TimeProvider clock = TimeProvider.System;
        long start = clock.GetTimestamp();
        while (ServerLock.IsHeld(dataDirectory))
        {
            var client = new ControlClient(ControlSocket.Of(dataDirectory));
            try
            {
                _ = client.Status();
                return client;
            }
            catch (Exception e) when (e is HttpRequestException or ControlException)
            {
                client.Dispose();
            }

            if (clock.GetElapsedTime(start) > Patience)
            {
                throw new ControlException(
                    $"{dataDirectory} is in use, and nobody answers on its {ControlSocket.FileName}: "
                    + "another verb may be working on it, or the server is starting or stopping; try again later");
            }

            Thread.Sleep(50);
        }

        return null;
    }

    public ServerStatus Status() => Get("v1/status", ControlJson.Default.ServerStatus);

    /// <summary>Keeps the server's segment files as they are until it is disposed.</summary>
    public RemoteHold Hold()
    {
        HttpResponseMessage response = Send(new HttpRequestMessage(HttpMethod.Get, "v1/log/hold"));
        var reader = new StreamReader(response.Content.ReadAsStream());
        HeldLog held = JsonSerializer.Deserialize(reader.ReadLine() ?? "null", ControlJson.Default.HeldLog)
            ?? throw new ControlException("the server stopped");
        return new RemoteHold(response, reader, new LogExtent(held.EndLsn, held.Segments));
    }

    /// <summary>What the server streams; the caller disposes it.</summary>
    public Stream Open(string path) => Send(new HttpRequestMessage(HttpMethod.Get, path)).Content.ReadAsStream();

    /// <summary>The same for work that a GET must not begin.</summary>
    public Stream OpenByPost(string path) => Send(new HttpRequestMessage(HttpMethod.Post, path)).Content.ReadAsStream();

    public T Post<T>(string path, Stream body, JsonTypeInfo<T> type)
    {
        using HttpResponseMessage response =
            Send(new HttpRequestMessage(HttpMethod.Post, path) { Content = new StreamContent(body) });
        return Read(response, type);
    }

    public T Get<T>(string path, JsonTypeInfo<T> type)
    {
        using HttpResponseMessage response = Send(new HttpRequestMessage(HttpMethod.Get, path));
        return Read(response, type);
    }

    public void Dispose()
    {
        _http.Dispose();
        _socket.Dispose();
    }

    private static T Read<T>(HttpResponseMessage response, JsonTypeInfo<T> type)
    {
        using Stream body = response.Content.ReadAsStream();
        return JsonSerializer.Deserialize(body, type) ?? throw new ControlException("the server answered nothing");
    }

    /// <summary>The answer, read as far as its header.</summary>
    /// <exception cref="ControlException">The server refused; the text is its own.</exception>
    private HttpResponseMessage Send(HttpRequestMessage request)
    {
        HttpResponseMessage response = _http.Send(request, HttpCompletionOption.ResponseHeadersRead);
        if (response.StatusCode == HttpStatusCode.OK)
        {
            return response;
        }

        using (response)
        {
            string text = new StreamReader(response.Content.ReadAsStream()).ReadToEnd();
            string why = text.StartsWith('{')
                ? JsonSerializer.Deserialize(text, ControlJson.Default.ControlError)!.Error
                : $"the server answered {(int)response.StatusCode}; is it of another version?";
            throw new ControlException(why)
            {
                IsNotFound = response.StatusCode == HttpStatusCode.NotFound,
                IsTemporary = response.StatusCode >= HttpStatusCode.InternalServerError,
            };
        }
    }
}

/// <summary>A hold on a server's log, as long as the connection lives. Owned by the verb that asked for it.</summary>
internal sealed class RemoteHold : IDisposable
{
    private readonly HttpResponseMessage _response;
    private readonly StreamReader _reader;
    private readonly Task _end;

    public RemoteHold(HttpResponseMessage response, StreamReader reader, LogExtent extent)
    {
        _response = response;
        _reader = reader;
        Extent = extent;
        _end = Watch(reader);
    }

    public LogExtent Extent { get; }

    /// <summary>The server has let go: from then on it may drop segments and use their files again.</summary>
    public bool IsLost => _end.IsCompleted;

    public void Dispose()
    {
        _reader.Dispose();
        _response.Dispose();
    }

    /// <summary>The server says nothing more while it holds.</summary>
    private static async Task Watch(StreamReader reader)
    {
        try
        {
            _ = await reader.ReadLineAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or HttpRequestException or ObjectDisposedException or OperationCanceledException)
        {
            // The server died, or the verb needs the hold no more: either way that is its end.
        }
    }
}

/// <summary>The server refused, or there is none to be reached; the message is for the operator.</summary>
internal sealed class ControlException : IOException
{
    public ControlException(string message)
        : base(message)
    {
    }

    /// <summary>What was asked about is not there.</summary>
    public bool IsNotFound { get; init; }

    /// <summary>The same request may be granted later.</summary>
    public bool IsTemporary { get; init; } = true;
}
