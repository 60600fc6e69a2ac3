using System.Buffers;
using FastMail.Server.Control;
using FastMail.Server.Maildrops;

namespace FastMail.Server.Cli;

/// <summary>
/// Gathers messages until there are enough for one flush, and sends them on. Owned by the import verb; one thread.
/// </summary>
internal sealed class ImportBatches
{
    private const int MostMessages = 64;
    private const int MostBytes = 512 * 1024;

    private readonly IMaildropAccess _maildrops;
    private readonly MaildropSummary _maildrop;
    private readonly bool _skipsPresent;
    private readonly TransferReport _report;
    private readonly List<SourceMessage> _messages = [];
    private readonly ArrayBufferWriter<byte> _frames = new(1 << 16);
    private bool _isFirst = true;

    public ImportBatches(IMaildropAccess maildrops, MaildropSummary maildrop, bool skipsPresent, TransferReport report)
    {
        _maildrops = maildrops;
        _maildrop = maildrop;
        _skipsPresent = skipsPresent;
        _report = report;
    }

    /// <summary>False when the import cannot go on.</summary>
    public bool Add(SourceMessage message, bool skipsDamaged)
    {
        _messages.Add(message);
        Frames.Write(
            _frames,
            new ImportedMessage(message.UniqueId, message.ArrivalSeconds, message.ReversePath),
            ControlJson.Default.ImportedMessage,
            message.Text.Length);
        _frames.Write(message.Text.Span);
        return (_messages.Count < MostMessages && _frames.WrittenCount < MostBytes) || Send(skipsDamaged);
    }

    /// <summary>Sends what there is. False when the import cannot go on.</summary>
    public bool Send(bool skipsDamaged)
    {
        if (_messages.Count == 0)
        {
            return true;
        }

        using var stream = new MemoryStream(_frames.WrittenMemory.ToArray(), writable: false);
        ImportResult[] results = _maildrops.Import(_maildrop, stream, _isFirst, _skipsPresent);
        _isFirst = false;
        bool mayGoOn = true;
        foreach ((SourceMessage message, ImportResult result) in _messages.Zip(results))
        {
            mayGoOn &= Take(message, result, skipsDamaged);
        }

        _messages.Clear();
        _frames.ResetWrittenCount();
        return mayGoOn;
    }

    private bool Take(SourceMessage message, ImportResult result, bool skipsDamaged)
    {
        switch (result.Outcome)
        {
            case ImportOutcome.Added:
                _report.Done(message.Text.Length);
                return true;
            case ImportOutcome.Renamed:
                _report.Renamed($"{message.Place}: has the unique-id {result.UniqueId}; {message.UniqueId} cannot be kept");
                _report.Done(message.Text.Length);
                return true;
            case ImportOutcome.Present:
                _report.Present();
                return true;
            case ImportOutcome.Damaged:
                _report.Damaged($"{message.Place}: holds NUL octets");
                return skipsDamaged;
            default:
                _report.Failed(
                    $"{message.Place}: {(result.Outcome == ImportOutcome.NoSpace ? "the disk is full" : "the log failed")}");
                return false;
        }
    }
}

/// <summary>What became of the messages of an export or import. Owned by the verb; one thread.</summary>
internal sealed class TransferReport
{
    private readonly bool _isJson;
    private long _messages;
    private long _present;
    private long _renamed;
    private long _damaged;
    private bool _hasFailed;

    public TransferReport(bool isJson) => _isJson = isJson;

    public long Octets { get; private set; }

    public void Done(long octets)
    {
        _messages++;
        Octets += octets;
    }

    public void Present() => _present++;

    public void Renamed(string text)
    {
        _renamed++;
        Console.Error.WriteLine($"fastmail: {text}");
    }

    public void Damaged(string text)
    {
        _damaged++;
        Console.Error.WriteLine($"fastmail: {text}");
    }

    public void Failed(string text)
    {
        _hasFailed = true;
        Console.Error.WriteLine($"fastmail: {text}");
    }

    /// <summary>Prints the sum and answers the exit code.</summary>
    public int End(string what)
    {
        if (_isJson)
        {
            LogJson.Print(json =>
            {
                json.WriteNumber("messages", _messages);
                json.WriteNumber("octets", Octets);
                json.WriteNumber("present", _present);
                json.WriteNumber("renamed", _renamed);
                json.WriteNumber("damaged", _damaged);
            });
        }
        else
        {
            string present = _present > 0 ? $", {_present} were there already" : "";
            string damaged = _damaged > 0 ? $", {_damaged} damaged" : "";
            Console.Out.WriteLine($"{what} {_messages} messages, {Octets} octets{present}{damaged}");
        }

        return _hasFailed ? ExitCode.IoError : _damaged > 0 ? ExitCode.DataError : ExitCode.Ok;
    }
}
