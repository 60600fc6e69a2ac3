using System.Net.Sockets;
using System.Text;
using FastMail.Tests.Protocol;
using FastMail.Tests.Server;
using Xunit;

namespace FastMail.Tests.HostileInput;

/// <summary>
/// The rows of badinputs.tsv about the operator's HTTP, against the port of a whole server: in one piece and octet by
/// octet. What is answered is in choices.tsv. And what those rows mean where it can be done here: JSON without end, and
/// line ends in values.
/// </summary>
public sealed class AdminInputTests(AdminServer server) : IClassFixture<AdminServer>
{
    public static TheoryData<string> Rows() => [.. HostileRow.All.Where(row => row.Protocol == "http").Select(row => row.Id)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void The_answer_in_one_piece(string id) => Play(id, int.MaxValue);

    [Theory]
    [MemberData(nameof(Rows))]
    public void The_same_answer_octet_by_octet(string id) => Play(id, 1);

    [Fact]
    public void A_head_of_an_imported_message_may_not_be_deep_nor_leave_anything_out()
    {
        foreach (string head in (string[])[new string('[', 30_000), """{"reversePath":{"a":1}}""", "{}", "null", """{"reversePath":"\ud800"}"""])
        {
            string frames = Frame(head) + Frame("A: b\r\n\r\n");
            string answer = Ask("POST", "/v1/maildrop/messages?address=u@local.test&first=1", frames);
            Assert.StartsWith("HTTP/1.1 400 ", answer, StringComparison.Ordinal);
        }

        Assert.Equal(0, server.Fixture.Log.Measure(1).Messages);
    }

    [Theory]
    [InlineData("/v1/mail?to=u%0d%0aX:y@local.test")]
    [InlineData("/v1/mail?to=u@local.test&from=a@b.test%0d%0aRCPT%20TO:<x@y.test>")]
    [InlineData("/v1/mail?to=u@local.test&envid=a%0d%0aDATA")]
    [InlineData("/v1/mail?to=u@local.test&envid=a%20SIZE=1")]
    [InlineData("/v1/mail?to=u@local.test&notify=9")]
    [InlineData("/v1/mail?to=u@local.test&notify=99")]
    [InlineData("/v1/mail?to=u@local.test&notify=-1")]
    [InlineData("/v1/mail?to=u@local.test&ret=3")]
    [InlineData("/v1/queue/redirect?all=1&to=x@y.test%0d%0aQUIT")]
    public void A_value_that_would_be_more_than_one_is_refused(string path)
    {
        Assert.StartsWith("HTTP/1.1 400 ", Ask("POST", path, "Subject: x\r\n\r\n"), StringComparison.Ordinal);
    }

    private string Ask(string method, string path, string body) => Send(
        $"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.Token}\r\n"
        + $"Content-Length: {body.Length}\r\nConnection: close\r\n\r\n{body}", int.MaxValue);

    private void Play(string id, int segment)
    {
        HostileRow row = HostileRow.All.Single(row => row.Id == id);
        string request = Encoding.Latin1.GetString(Script.Octets(row.Octets)).Replace("Bearer T\r", $"Bearer {server.Token}\r", StringComparison.Ordinal);
        request = request.Length > 1000 && segment == 1 ? request[..500] + request[^500..] : request; // its end is never waited for
        string answer = Send(request, segment);
        string[] replies = [.. answer.Split("\r\n").Where(line => line.StartsWith("HTTP/1.1 ", StringComparison.Ordinal)).Select(line => line[9..12])];
        Assert.Equal(row.Choice!.Replies, replies, StringComparer.Ordinal);
        Assert.Equal(row.Choice.Closes, Closes(answer));
        Assert.DoesNotContain(server.Token, answer, StringComparison.Ordinal);
    }

    /// <summary>
    /// All that is answered: up to the end where the server says that it closes, else one whole answer. What is sent is
    /// not ended, for the web server drops a request whose client has gone.
    /// </summary>
    private string Send(string request, int segment)
    {
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveTimeout = 30_000 };
        socket.Connect(server.Fixture.Server.AdminEndPoint!);
        byte[] octets = Encoding.Latin1.GetBytes(request);
        try
        {
            for (int at = 0; at < octets.Length; at += segment == 1 ? 1 : octets.Length)
            {
                socket.Send(octets.AsSpan(at, Math.Min(segment, octets.Length - at)));
            }
        }
        catch (SocketException)
        {
            // It has answered and closed before it heard all.
        }

        string answer = "";
        byte[] buffer = new byte[4096];
        while (!IsWhole(answer))
        {
            int received = socket.Receive(buffer);
            Assert.True(received > 0, "the answer ends early: " + answer);
            answer += Encoding.Latin1.GetString(buffer, 0, received);
        }

        return Closes(answer) ? answer + FastMail.Tests.Server.Defence.Talk.ReadToEnd(socket) : answer;
    }

    private static bool Closes(string answer) => answer.Contains("\r\nConnection: close\r\n", StringComparison.OrdinalIgnoreCase);

    private static bool IsWhole(string answer)
    {
        int end = answer.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        return end > 0 && (answer.EndsWith("\r\n0\r\n\r\n", StringComparison.Ordinal) // chunks
            || answer.Contains("\r\nContent-Length: 0\r\n", StringComparison.Ordinal)
            || Closes(answer));
    }

    private static string Frame(string text) =>
        Encoding.Latin1.GetString(BitConverter.GetBytes(text.Length)) + text;
}

/// <summary>A server whose operator's door is open over TCP.</summary>
public sealed class AdminServer : IAsyncLifetime
{
    internal ServerFixture Fixture { get; private set; } = null!;

    internal string Token { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        Fixture = await ServerFixture.StartAsync("admin.listen=127.0.0.1:0");
        await Fixture.Server.OpenControlAsync();
        Token = (await File.ReadAllTextAsync(Path.Join(Fixture.Directory, "admin.token"))).Trim();
    }

    public async Task DisposeAsync() => await Fixture.DisposeAsync();
}
