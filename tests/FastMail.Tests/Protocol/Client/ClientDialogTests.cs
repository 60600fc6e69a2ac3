using System.Text;
using System.Text.RegularExpressions;
using FastMail.Protocol.Sasl;
using FastMail.Protocol.Smtp.Client;
using Xunit;

namespace FastMail.Tests.Protocol.Client;

/// <summary>
/// Plays the dialogs of the folder Dialogs: what the host says comes whole, line by line and octet by octet.
/// </summary>
/// <remarks>
/// A file opens with <c>smtp</c> or <c>lmtp</c>, behind it the TLS policy, user and password. <c>b64{x}</c> is x in
/// base64. <c>mail</c> puts a
/// transaction into the queue: reverse-path, forward-paths, then options in brackets. <c>S: </c> is a line of the host,
/// <c>C: </c> what we must have said to it, <c>C- </c> the same without CRLF. <c>tls</c> and <c>tls unverified</c> are
/// handshakes, <c>lost</c>, <c>timeout</c> and <c>tls failed</c> ends; <c>quit</c> lets QUIT follow the last transaction.
/// At the end <c>told</c> says what each recipient was told, <c>closed</c> and <c>cut</c> how the session ended,
/// <c>failure</c> why. <c>#</c> is a comment.
/// </remarks>
public sealed class ClientDialogTests
{
    public static TheoryData<string> Files() =>
        [.. Directory.GetFiles(Folder(), "*.txt").Order(StringComparer.Ordinal).Select(path => Path.GetFileName(path)!)];

    [Theory]
    [MemberData(nameof(Files))]
    public void A_dialog_goes_as_written_when_replies_come_whole(string file) =>
        new ClientDialog(file).Play((rig, octets) => rig.Feed(octets));

    [Theory]
    [MemberData(nameof(Files))]
    public void A_dialog_goes_as_written_when_replies_come_line_by_line(string file) =>
        new ClientDialog(file).Play((rig, octets) =>
        {
            foreach (var line in octets.Split('\n'))
            {
                rig.Feed(line.EndsWith('\r') ? line + "\n" : line);
            }
        });

    [Theory]
    [MemberData(nameof(Files))]
    public void A_dialog_goes_as_written_when_replies_come_octet_by_octet(string file) =>
        new ClientDialog(file).Play((rig, octets) => rig.FeedSplit(octets, 1));

    [Theory]
    [MemberData(nameof(Files))]
    public void A_dialog_goes_as_written_with_the_least_room(string file) =>
        new ClientDialog(file).Play((rig, octets) => rig.Feed(octets), FastMail.Protocol.ISession.MinimumRepliesBytes);

    private static string Folder() => Path.Combine(AppContext.BaseDirectory, "Protocol", "Client", "Dialogs");

    private sealed class ClientDialog(string file)
    {
        private static readonly Regex Base64 = new(@"b64\{(?<text>[^}]*)\}", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture);

        private readonly List<TestMail> _mails = [];
        private readonly List<string> _told = [];
        private readonly StringBuilder _expected = new();
        private ClientRig _rig = null!;
        private string _server = "";
        private string _end = "open";
        private string? _failure;

        public void Play(Action<ClientRig, string> feed, int room = 2048)
        {
            foreach (var line in File.ReadAllLines(Path.Combine(Folder(), file)))
            {
                if (line.Length > 0 && line[0] != '#')
                {
                    Take(line, feed, room);
                }
            }
            FeedServer(feed);
            Check();
        }

        private void Take(string line, Action<ClientRig, string> feed, int room)
        {
            var text = Encoding.Latin1.GetString(Script.Octets(WithBase64(line[Math.Min(3, line.Length)..])));
            if (line.StartsWith("S:", StringComparison.Ordinal))
            {
                Check();
                _server += text + "\r\n";
            }
            else if (line[0] == 'C' && line[1] is ':' or '-')
            {
                FeedServer(feed);
                _expected.Append(text).Append(line[1] == ':' ? "\r\n" : "");
            }
            else
            {
                TakeDirective(line.Split(' '), feed, room);
            }
        }

        private void TakeDirective(string[] words, Action<ClientRig, string> feed, int room)
        {
            switch (words[0])
            {
                case "smtp" or "lmtp":
                    var tls = words.Length > 1 ? Enum.Parse<TlsPolicy>(words[1], ignoreCase: true) : TlsPolicy.None;
                    _rig = new ClientRig(ClientRig.Options(words[0] == "lmtp", tls) with { Credentials = Login(words) }, room);
                    break;
                case "mail":
                    FeedServer(feed);
                    var mail = MailText.Parse(words[1..]);
                    _mails.Add(mail);
                    _rig.Queue.Enqueue(mail);
                    break;
                case "quit":
                    _rig.Quits = true;
                    break;
                case "tls" when words.Length > 1 && words[1] == "failed":
                    FeedServer(feed);
                    _rig.Lose(ClientLoss.TlsFailed);
                    break;
                case "tls":
                    FeedServer(feed);
                    Check();
                    Assert.True(_rig.Session.IsStartingTls);
                    _rig.Secure(words.Length == 1);
                    break;
                case "lost" or "timeout":
                    FeedServer(feed);
                    Check();
                    _rig.Lose(words[0] == "lost" ? ClientLoss.Closed : ClientLoss.TimedOut);
                    break;
                case "told":
                    _told.Add(string.Join(' ', words[1..]));
                    break;
                case "closed" or "cut":
                    _end = words[0];
                    break;
                case "failure":
                    _failure = string.Join(' ', words[1..]);
                    break;
                default:
                    throw new InvalidDataException($"{file}: {words[0]}?");
            }
        }

        private static ClientCredentials? Login(string[] words) => words.Length < 4
            ? null
            : new ClientCredentials(Script.Octets(words[2]), Script.Octets(words[3]));

        private static string WithBase64(string text) => Base64.Replace(
            text, match => Convert.ToBase64String(Script.Octets(match.Groups["text"].Value)));

        private void FeedServer(Action<ClientRig, string> feed)
        {
            if (_server.Length > 0)
            {
                feed(_rig, _server);
                _server = "";
            }
        }

        private void Check()
        {
            Assert.Equal(_expected.ToString(), _rig.Said);
            if (_server.Length > 0 || _told.Count == 0)
            {
                return;
            }
            Assert.Equal(string.Join('\n', _told), string.Join('\n', _mails.SelectMany(mail => mail.Told).Select(told => told ?? "nothing")));
            Assert.All(_mails, mail => Assert.Equal(!mail.Told.Contains(null), mail.HasEnded));
            Assert.Equal(_end, _rig.IsClosed ? "closed" : _rig.IsCut ? "cut" : "open");
            var failure = _rig.Session.Failure;
            var words = new byte[200];
            Assert.Equal(
                _failure,
                failure is null ? null : $"{failure.Outcome} {failure.Phase} {failure.Status}: "
                    + Encoding.ASCII.GetString(words, 0, failure.WriteText(words)));
        }
    }
}

/// <summary>The line of a dialog that describes a transaction. Stateless.</summary>
internal static class MailText
{
    /// <summary><c>&lt;a@b&gt; &lt;c@d&gt; ... [option] ...</c></summary>
    public static TestMail Parse(string[] words)
    {
        var paths = words.Where(word => word[0] == '<').Select(word => word[1..^1]).ToArray();
        var options = words.Where(word => word[0] == '[').Select(word => word[1..^1].Split('=', 2))
            .ToDictionary(pair => pair[0], pair => pair.Length > 1 ? pair[1] : "", StringComparer.Ordinal);
        var content = options.GetValueOrDefault("content", @"Subject:_x\r\n\r\nhi\r\n.\r\n");
        return new TestMail(Utf8(paths[0]), [.. paths[1..].Select(Utf8)])
        {
            Pieces = [.. content.Split('|').Select(piece => Script.Octets(piece.Replace('_', ' ')))],
            IsOfUnknownOctets = !options.ContainsKey("chunk"),
            IsSlow = options.ContainsKey("slow"),
            Is8Bit = options.ContainsKey("8bit"),
            HasUtf8Header = options.ContainsKey("utf8"),
            RequiresTls = options.ContainsKey("requiretls"),
            EnvelopeId = Encoding.ASCII.GetBytes(options.GetValueOrDefault("envid", "")),
            AuthMailbox = Encoding.ASCII.GetBytes(options.GetValueOrDefault("auth", "")),
            OriginalRecipient = Encoding.ASCII.GetBytes(options.GetValueOrDefault("orcpt", "")),
            Notify = options.TryGetValue("notify", out var notify)
                ? Enum.Parse<FastMail.Protocol.Smtp.DsnNotify>(notify, ignoreCase: true) : default,
            Return = options.TryGetValue("ret", out var ret)
                ? Enum.Parse<FastMail.Protocol.Smtp.DsnReturn>(ret, ignoreCase: true) : default,
            Priority = options.TryGetValue("priority", out var priority)
                ? int.Parse(priority, System.Globalization.CultureInfo.InvariantCulture) : null,
            DeliverBy = options.TryGetValue("by", out var by)
                ? new FastMail.Protocol.Smtp.DeliverBy(int.Parse(by, System.Globalization.CultureInfo.InvariantCulture), options.ContainsKey("return"), false) : null,
            WireBytes = options.TryGetValue("wire", out var wire)
                ? long.Parse(wire, System.Globalization.CultureInfo.InvariantCulture) : null,
            Octets = options.TryGetValue("octets", out var octets)
                ? long.Parse(octets, System.Globalization.CultureInfo.InvariantCulture) : null,
        };
    }

    private static string Utf8(string path) => Encoding.UTF8.GetString(Script.Octets(path));
}
