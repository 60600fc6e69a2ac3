using System.CommandLine;
using System.Runtime.InteropServices;
using FastMail.Net;
using FastMail.Server.Configuration;
using FastMail.Server.Tls;
using FastMail.Storage;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Cli;

/// <summary><c>fastmail serve</c>: runs the server until SIGTERM or SIGINT.</summary>
internal sealed class ServeVerb
{
    private readonly Option<string> _data;

    private readonly SettingOptions _settings;

    public ServeVerb(Option<string> data)
    {
        _data = data;
        _settings = new SettingOptions(data)
            .Short("--hostname", "NAME", ServeKeys.Hostname, "This host's name in greetings and Received fields.")
            .Short("--mx", "ADDR:PORT|none", ServeKeys.Mx,
                "Receive mail for hosted recipients here; repeatable; port 0 takes a free one.")
            .Short("--submission", "ADDR:PORT|none", ServeKeys.Submission, "Take mail from authenticated users here; repeatable.")
            .Short("--lmtp", "ADDR:PORT|unix:PATH|none", LmtpKeys.Listen,
                "Take mail for hosted recipients over LMTP here; repeatable.")
            .Short("--pop3", "ADDR:PORT|none", ServeKeys.Pop3, "Serve POP3 here; repeatable.")
            .Short("--submissions", "ADDR:PORT|none", ServeKeys.Submissions, "As --submission, over TLS from the first octet.")
            .Short("--pop3s", "ADDR:PORT|none", ServeKeys.Pop3s, "As --pop3, over TLS from the first octet.")
            .Short("--tls-cert", "FILE", TlsKeys.Certificates,
                "Certificate with its chain, PEM; repeatable, chosen by the name the client asks for, else the first.")
            .Short("--tls-key", "FILE", TlsKeys.PrivateKeys, "Its private key, PEM; one for each --tls-cert, in the same order.")
            .Short("--relay-from", "CIDR", RelayKeys.From, "Take mail for others from these clients without a login; repeatable.")
            .Short("--retry-min", "TIME", RelayKeys.RetryMin, "Between the first failed delivery of a message and the second.")
            .Short("--route", "PATTERN=NEXTHOP", RouteKeys.Table,
                "Send mail of an address, domain, .domain or * this way, e.g. relay.test=127.0.0.1:2525; repeatable.")
            .Short("--smarthost", "smtp[s]://[USER@]HOST[:PORT]", RouteKeys.Smarthost,
                "Send all other mail this way and not by MX; a user needs relay.smarthost_password_file.")
            .Short("--admin", "ADDR:PORT|none", AdminKeys.Listen,
                "Answer administrative requests here, with the token of admin.token in the data directory; repeatable.")
            .Short("--segment-size", "SIZE", StoreKeys.SegmentBytes, "Size of a mail log segment, 1MiB to 1GiB.")
            .Short("--max-message-size", "SIZE", LimitKeys.MessageBytes, "Largest message accepted, 64KiB to 2047MiB.");
    }

    public Command Build(string name)
    {
        var command = new Command(name, """
            Runs the server until SIGTERM or SIGINT, then drains it.

            When it listens, one line on standard output says so: ready mx=ADDR:PORT submission=ADDR:PORT pop3=ADDR:PORT
            submissions=ADDR:PORT pop3s=ADDR:PORT; more roles may follow. Everything else it has to say goes to standard
            error. In the clear, passwords are taken on loopback addresses only. SIGHUP reads the certificates
            again, and the passwords for next hops.
            """);
        Equip(command);
        return command;
    }

    public void Equip(Command command)
    {
        _settings.AddTo(command);
        command.SetAction((parsed, _) => RunAsync(parsed));
    }

    private async Task<int> RunAsync(ParseResult parsed)
    {
        EventLoop.PrepareRuntime(); // the runtime reads its socket switches when the first socket is made
        using ILoggerFactory loggers = ServerLog.Open(TimeProvider.System);
        try
        {
            Settings settings = _settings.Read(parsed);
            string directory = Path.GetFullPath(parsed.GetRequiredValue(_data));
            await using MailServer server = await MailServer.StartAsync(
                directory, settings, TimeProvider.System, loggers.CreateLogger("fastmail"), LinuxDisk.Instance);
            return await RunUntilStoppedAsync(server);
        }
        catch (Exception e) when (ExitCodeOf(e) is { } code)
        {
            await Console.Error.WriteLineAsync($"fastmail: {e.Message}");
            return code;
        }
    }

    private static async Task<int> RunUntilStoppedAsync(MailServer server)
    {
        var stop = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void OnSignal(PosixSignalContext signal)
        {
            signal.Cancel = true; // not at once: drain first
            stop.TrySetResult();
        }

        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);

        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, signal =>
        {
            signal.Cancel = true;
            server.Reload();
        });

        if (server.FirstAccount is { } first)
        {
            await Console.Error.WriteLineAsync(Welcome(server, first.Address, first.Password));
        }

        await server.OpenControlAsync(); // a verb may follow the ready line at once; mail comes in already
        await Console.Out.WriteLineAsync(server.Listeners.ReadyLine);
        await Task.WhenAny(stop.Task, server.Failed);
        await server.StopAsync();
        return server.Failed.IsCompleted ? ExitCode.IoError : ExitCode.Ok;
    }

    private static string Welcome(MailServer server, string address, string password)
    {
        var text = new System.Text.StringBuilder();
        text.Append($"First start: made the account {address} with the password {password} (shown this once).\n");
        if (server.Listeners.EndPointOf(Listeners.Mx) is { } mx)
        {
            text.Append($"  send:   printf 'Subject: hello\\r\\n\\r\\nHello.\\r\\n' | curl -s smtp://{mx} --mail-from me@example.org --mail-rcpt {address} -T -\n");
        }

        if (server.Listeners.EndPointOf(Listeners.Submission) is { } submission)
        {
            text.Append($"  submit: swaks --server {submission} --auth PLAIN --auth-user {address} --auth-password {password} --from {address} --to {address}\n");
        }

        if (server.Listeners.EndPointOf(Listeners.Pop3) is { } pop3)
        {
            text.Append($"  fetch:  curl -s --user {address}:{password} pop3://{pop3}/1\n");
        }

        return text.ToString();
    }

    /// <summary>Exit codes of what the world can do to a start; null for what only a mistake of ours can.</summary>
    private static int? ExitCodeOf(Exception e) => e switch
    {
        DataDirectoryInUseException => ExitCode.TemporaryFailure,
        IncompatibleFormatException => ExitCode.Configuration,
        DamagedLogException => ExitCode.DataError,
        ListenException or SettingException or CertificateException => ExitCode.Configuration,
        UnauthorizedAccessException or IOException or SqliteException => ExitCode.IoError,
        _ => null,
    };
}
