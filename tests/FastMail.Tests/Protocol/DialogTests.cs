using System.Text;
using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>
/// Plays the dialogs of the folder Dialogs: each whole, by line, octet by octet, and with the least room for replies.
/// </summary>
/// <remarks>
/// A file opens with the listener (<c>mx</c>, <c>submission</c>, <c>lmtp</c>, <c>pop3</c>, or one of them with
/// <c>-tls</c>, <c>-etrn</c>, <c>-hold</c> or, where the peer may say XCLIENT, <c>-xclient</c>). <c>C: </c> is a line of the client with CRLF, <c>C- </c> the same without; <c>S: </c> is a line of the
/// server. <c>tls</c> is a handshake: the client sends nothing behind it before. <c>close</c> says that the server
/// closes, <c>stored n</c> how many messages are kept in the end. <c>#</c> is a comment.
/// </remarks>
public sealed class DialogTests
{
    public static TheoryData<string> Files()
    {
        var files = new TheoryData<string>();
        foreach (var path in Directory.GetFiles(Folder(), "*.txt").Order(StringComparer.Ordinal))
        {
            files.Add(Path.GetFileName(path));
        }
        return files;
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_dialog_sent_whole_gets_its_replies(string file)
    {
        var dialog = Dialog.Load(file);
        var rig = dialog.CreateRig(4096);
        dialog.Play(rig, (r, client) => r.Feed(client));
        dialog.Check(rig);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_dialog_sent_line_by_line_gets_each_reply_in_its_place(string file)
    {
        var dialog = Dialog.Load(file);
        var rig = dialog.CreateRig(4096);
        rig.Feed([]);
        var expected = new StringBuilder();
        foreach (var turn in dialog.Turns)
        {
            if (turn.BeginsTls)
            {
                rig.Secure();
            }
            rig.Feed(turn.Client);
            expected.Append(turn.Server);
            if (turn.Server.Length > 0)
            {
                Assert.Equal(expected.ToString(), rig.Sent);
            }
        }
        dialog.Check(rig);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_dialog_sent_octet_by_octet_gets_the_same_replies(string file)
    {
        var dialog = Dialog.Load(file);
        var rig = dialog.CreateRig(4096);
        dialog.Play(rig, (r, client) => r.FeedSplit(client, 1));
        dialog.Check(rig);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_dialog_with_the_least_room_for_replies_gets_the_same_replies(string file)
    {
        var dialog = Dialog.Load(file);
        var rig = dialog.CreateRig(FastMail.Protocol.ISession.MinimumRepliesBytes);
        dialog.Play(rig, (r, client) => r.Feed(client));
        dialog.Check(rig);
    }

    private static string Folder() => Path.Combine(AppContext.BaseDirectory, "Protocol", "Dialogs");

    private sealed record Turn(byte[] Client, string Server, bool BeginsTls);

    private sealed class Dialog
    {
        private string _listener = "";
        private bool _closes;
        private int? _stored;

        public List<Turn> Turns { get; } = [];

        /// <summary>Everything the client says, from handshake to handshake.</summary>
        public void Play(Rig rig, Action<Rig, byte[]> feed)
        {
            rig.Feed([]);
            byte[] client = [];
            foreach (var turn in Turns)
            {
                if (turn.BeginsTls)
                {
                    feed(rig, client);
                    rig.Secure();
                    client = [];
                }
                client = [.. client, .. turn.Client];
            }
            feed(rig, client);
        }

        public static Dialog Load(string file)
        {
            var dialog = new Dialog();
            byte[] client = [];
            var server = "";
            var beginsTls = false;
            foreach (var line in File.ReadAllLines(Path.Combine(Folder(), file)))
            {
                if (line.StartsWith('C') || line == "tls")
                {
                    if (server.Length > 0 || line == "tls")
                    {
                        dialog.Turns.Add(new Turn(client, server, beginsTls));
                        (client, server, beginsTls) = ([], "", line == "tls");
                    }
                    if (line == "tls")
                    {
                        continue;
                    }
                    var isLine = line[1] == ':';
                    client = [.. client, .. Script.Octets(line[Math.Min(3, line.Length)..] + (isLine ? "\r\n" : ""))];
                }
                else if (line.StartsWith("S:", StringComparison.Ordinal))
                {
                    server += Encoding.Latin1.GetString(Script.Octets(line[Math.Min(3, line.Length)..])) + "\r\n";
                }
                else if (line.Length > 0 && line[0] != '#')
                {
                    dialog.TakeDirective(line);
                }
            }
            dialog.Turns.Add(new Turn(client, server, beginsTls));
            return dialog;
        }

        public Rig CreateRig(int replyBytes) => _listener switch
        {
            "mx" => SmtpRig.Create(SmtpRole.Mx, replyBytes),
            "mx-etrn" => SmtpRig.Create(SmtpRole.Mx, replyBytes, more: SmtpExtensions.Etrn),
            "submission-hold" => SmtpRig.Create(SmtpRole.Submission, replyBytes, more: SmtpExtensions.FutureRelease),
            "submission" => SmtpRig.Create(SmtpRole.Submission, replyBytes),
            "mx-xclient" => SmtpRig.Create(SmtpRole.Mx, replyBytes).WithXclient(),
            "submission-xclient" => SmtpRig.Create(SmtpRole.Submission, replyBytes).WithXclient(),
            "lmtp" => SmtpRig.Create(SmtpRole.Lmtp, replyBytes),
            "mx-tls" => SmtpRig.Create(SmtpRole.Mx, replyBytes, tls: new FakeTlsOffer()),
            "submission-tls" => SmtpRig.Create(SmtpRole.Submission, replyBytes, tls: new FakeTlsOffer()),
            "pop3" => Pop3Rig.Create(Maildrop(), replyBytes),
            "pop3-tls" => Pop3Rig.Create(Maildrop(), replyBytes, allowsCleartext: false, tls: new FakeTlsOffer()),
            _ => throw new InvalidDataException($"No listener: {_listener}"),
        };

        private static FakeMaildrop Maildrop() =>
            new("A: 1\r\n\r\none\r\n..dot\r\ntwo\r\n", "B: 2\r\n\r\n", "just text\r\n");

        public void Check(Rig rig)
        {
            Assert.Equal(string.Concat(Turns.Select(turn => turn.Server)), rig.Sent);
            Assert.Equal(_closes, rig.IsClosed);
            if (_stored is not null)
            {
                Assert.Equal(_stored, Assert.IsType<SmtpRig>(rig).Sink.Stored.Count);
            }
        }

        private void TakeDirective(string line)
        {
            if (line == "close")
            {
                _closes = true;
            }
            else if (line.StartsWith("stored ", StringComparison.Ordinal))
            {
                _stored = int.Parse(line["stored ".Length..], System.Globalization.CultureInfo.InvariantCulture);
            }
            else
            {
                Assert.Equal("", _listener);
                _listener = line;
            }
        }
    }
}
