using System.Text;
using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>
/// Plays the dialogs of the folder Dialogs: each whole, by line, octet by octet, and with the least room for replies.
/// </summary>
/// <remarks>
/// A file opens with the listener (<c>mx</c>, <c>submission</c>, <c>lmtp</c>, <c>pop3</c>). <c>C: </c> is a line of the client with
/// CRLF, <c>C- </c> the same without; <c>S: </c> is a line of the server. <c>close</c> says that the server closes,
/// <c>stored n</c> how many messages are kept in the end. <c>#</c> is a comment.
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
        rig.Feed([]);
        rig.Feed(dialog.Client);
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
        rig.Feed([]);
        rig.FeedSplit(dialog.Client, 1);
        dialog.Check(rig);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_dialog_with_the_least_room_for_replies_gets_the_same_replies(string file)
    {
        var dialog = Dialog.Load(file);
        var rig = dialog.CreateRig(FastMail.Protocol.ISession.MinimumRepliesBytes);
        rig.Feed([]);
        rig.Feed(dialog.Client);
        dialog.Check(rig);
    }

    private static string Folder() => Path.Combine(AppContext.BaseDirectory, "Protocol", "Dialogs");

    private sealed record Turn(byte[] Client, string Server);

    private sealed class Dialog
    {
        private string _listener = "";
        private bool _closes;
        private int? _stored;

        public List<Turn> Turns { get; } = [];

        public byte[] Client => [.. Turns.SelectMany(turn => turn.Client)];

        public static Dialog Load(string file)
        {
            var dialog = new Dialog();
            byte[] client = [];
            var server = "";
            foreach (var line in File.ReadAllLines(Path.Combine(Folder(), file)))
            {
                if (line.StartsWith('C'))
                {
                    if (server.Length > 0)
                    {
                        dialog.Turns.Add(new Turn(client, server));
                        (client, server) = ([], "");
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
            dialog.Turns.Add(new Turn(client, server));
            return dialog;
        }

        public Rig CreateRig(int replyBytes) => _listener switch
        {
            "mx" => SmtpRig.Create(SmtpRole.Mx, replyBytes),
            "submission" => SmtpRig.Create(SmtpRole.Submission, replyBytes),
            "lmtp" => SmtpRig.Create(SmtpRole.Lmtp, replyBytes),
            "pop3" => Pop3Rig.Create(
                new FakeMaildrop("A: 1\r\n\r\none\r\n..dot\r\ntwo\r\n", "B: 2\r\n\r\n", "just text\r\n"), replyBytes),
            _ => throw new InvalidDataException($"No listener: {_listener}"),
        };

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
