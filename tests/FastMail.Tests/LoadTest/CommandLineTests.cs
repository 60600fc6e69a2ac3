using System.Reflection;
using FastMail.LoadTest.Cli;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>The exit codes that scripts rely on, through the program's own entry point.</summary>
public sealed class CommandLineTests
{
    private const string PasswordVariable = "FASTMAIL_LOAD_PASSWORD";

    [Theory]
    [InlineData("")]
    [InlineData("smtp")]
    [InlineData("smtp --target nowhere")]
    [InlineData("smtp --target 127.0.0.1:25 --conections 5")]
    [InlineData("smtp --target 127.0.0.1:25 --connections 0")]
    [InlineData("smtp --target 127.0.0.1:25 --size 9..3")]
    [InlineData("smtp --target 127.0.0.1:25 --pipeline some")]
    [InlineData("smtp --target 127.0.0.1:25 --messages 5 --duration 5s")]
    [InlineData("smtp --target 127.0.0.1:25 --recipients-per-message 2")]
    [InlineData("smtp --target 127.0.0.1:25 --to <a@b>")]
    [InlineData("smtp --target 127.0.0.1:25 --rate 0")]
    [InlineData("smtp --target 127.0.0.1:25 --rate NaN")]
    [InlineData("smtp --target 127.0.0.1:25 --rate Infinity")]
    [InlineData("smtp --target 127.0.0.1:25 --users 5")]
    [InlineData("relay --target 127.0.0.1:25")]
    [InlineData("sink")]
    [InlineData("sink --listen 127.0.0.1:0 --defer 1.5")]
    [InlineData("sink --listen 127.0.0.1:0 --defer 0.6 --reject 0.5 -d 0")]
    [InlineData("sink --listen 127.0.0.1:0 --defer-content 0.6 --drop 0.5 -d 0")]
    [InlineData("sink --listen 127.0.0.1:0 --delay-share 0.5 -d 0")]
    [InlineData("sink --listen 127.0.0.1:0 --read-rate-share 0.5 -d 0")]
    [InlineData("audit /nowhere/ledger /nowhere/record")]
    [InlineData("pop3 --target 127.0.0.1:110")]
    [InlineData("pop3 --target 127.0.0.1:110 --user a --do stat,expunge")]
    [InlineData("pop3 --target 127.0.0.1:110 --user a --do dele,retr")]
    [InlineData("pop3 --target 127.0.0.1:110 --user a --do stat,login")]
    [InlineData("pop3 --target 127.0.0.1:110 --user a --verify-ledger /nowhere --do stat,dele")]
    [InlineData("pop3 --target 127.0.0.1:110 --user a --tls-ca /nowhere")]
    [InlineData("smtp --target 127.0.0.1:25 --tls starttls --tls-ca /nowhere")]
    [InlineData("smtp --target 127.0.0.1:25 --tls-insecure")]
    [InlineData("pop3 --target 127.0.0.1:110 --user a{n} --users 2 --parallel 3")]
    public void A_wrong_command_line_ends_with_64(string line)
    {
        Assert.Equal(ExitCode.Usage, Run(line));
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("smtp --help")]
    [InlineData("pop3 --help")]
    [InlineData("relay --help")]
    [InlineData("sink --help")]
    [InlineData("audit --help")]
    public void Help_is_not_an_error(string line)
    {
        Assert.Equal(ExitCode.Ok, Run(line));
    }

    [Fact]
    public void A_run_that_is_all_acknowledged_ends_with_0_and_one_that_is_refused_with_1()
    {
        using var server = new FakeMailServer { OnRecipient = mailbox => mailbox == "a@x" ? "250 ok" : "550 no" };
        string run = $"smtp --target 127.0.0.1:{server.SmtpPort} -n 20 -c 2 -q --json";
        Assert.Equal(ExitCode.Ok, Run($"{run} --to a@x"));
        Assert.Equal(ExitCode.NotAllWell, Run($"{run} --to b@x"));
    }

    [Fact]
    public void Results_of_every_kind_become_one_page_and_a_ramp_joins_what_is_alike()
    {
        using var server = new FakeMailServer();
        string directory = Directory.CreateTempSubdirectory("fastmail-report-").FullName;
        Environment.SetEnvironmentVariable(PasswordVariable, "secret");
        string smtp = $"--target 127.0.0.1:{server.SmtpPort} -n 20 -q --json";
        string pop3 = $"pop3 --target 127.0.0.1:{server.Pop3Port} --user u@x -q --json";
        string[] lines =
        [
            $"smtp {smtp} -c 1", $"smtp {smtp} -c 2", $"smtp {smtp} -c 3 -s 4K",
            $"soak {smtp} -c 4 --to v@x --pop3 127.0.0.1:{server.Pop3Port}", $"{pop3} --do login -n 3", $"{pop3} --do list -n 3",
        ];
        string[] results = [.. lines.Select((line, i) => KeepResult(line, Path.Join(directory, $"{i}.json")))];
        Environment.SetEnvironmentVariable(PasswordVariable, null);
        string page = Path.Join(directory, "report.html");
        Assert.Equal(ExitCode.Ok, Run($"report {string.Join(' ', results)} -o {page}"));
        string ramp = File.ReadAllText(page).Split("<figure>")[^1];
        foreach (string curve in (string[])[
            "acknowledgement, 1024 octets", "acknowledgement, 4096 octets", "POP3 session, login", "POP3 session, list"])
        {
            Assert.Equal(2, ramp.Split($"{curve}&emsp;").Length); // once
        }

        Directory.Delete(directory, recursive: true);
    }

    [Fact]
    public void A_ledger_that_is_none_ends_with_65()
    {
        string path = Path.GetTempFileName();
        File.WriteAllText(path, "hello\n");
        Assert.Equal(ExitCode.BadLedger, Run($"smtp --target 127.0.0.1:25 --ledger {path}"));
        File.Delete(path);
    }

    [Fact]
    public void Nothing_is_begun_for_a_table_that_cannot_be_written()
    {
        using var server = new FakeMailServer();
        Environment.SetEnvironmentVariable(PasswordVariable, "secret");
        string smtp = $"--target 127.0.0.1:{server.SmtpPort} -n 1 -q --csv /nowhere/run.csv";
        Assert.Equal(ExitCode.InputOutput, Run($"smtp {smtp}"));
        Assert.Equal(ExitCode.InputOutput, Run($"soak {smtp} --pop3 127.0.0.1:{server.Pop3Port}"));
        Assert.Equal(ExitCode.InputOutput, Run($"relay {smtp} --sink 127.0.0.1:0 --settle 0"));
        Assert.Equal(
            ExitCode.InputOutput,
            Run($"pop3 --target 127.0.0.1:{server.Pop3Port} --user a -q --csv /nowhere/run.csv"));
        Environment.SetEnvironmentVariable(PasswordVariable, null);
        Assert.Equal((0, 0), (server.Commands.Count, server.Sessions));
    }

    [Fact]
    public void A_record_that_cannot_be_written_ends_the_run_with_74()
    {
        int port = RelayRunTests.FreePort();
        string directory = Directory.CreateTempSubdirectory("fastmail-full-").FullName;
        Assert.Equal(
            ExitCode.InputOutput,
            Run($"relay --target 127.0.0.1:{port} --sink 127.0.0.1:{port} -n 2000 -q --record /dev/full "
                + $"--ledger {Path.Join(directory, "sent")}"));

        using var server = new FakeMailServer();
        string ledger = Path.Join(directory, "ledger");
        _ = File.CreateSymbolicLink($"{ledger}.collected", "/dev/full");
        Environment.SetEnvironmentVariable(PasswordVariable, "secret");
        Assert.Equal(
            ExitCode.InputOutput,
            Run($"soak --target 127.0.0.1:{server.SmtpPort} --pop3 127.0.0.1:{server.Pop3Port} -n 2000 -q --ledger {ledger}"));
        Environment.SetEnvironmentVariable(PasswordVariable, null);
        Directory.Delete(directory, recursive: true);
    }

    [Fact]
    public void Verifying_a_part_of_each_maildrop_is_refused()
    {
        Environment.SetEnvironmentVariable(PasswordVariable, "secret");
        string verify = "pop3 --target 127.0.0.1:110 --user a --verify-ledger /nowhere";
        Assert.Equal(ExitCode.InputOutput, Run(verify));
        Assert.Equal(ExitCode.Usage, Run($"{verify} --retrieve 5"));
        Environment.SetEnvironmentVariable(PasswordVariable, null);
    }

    /// <summary>Runs it, keeps what it prints in the file and returns the file's name.</summary>
    private static string KeepResult(string line, string path)
    {
        TextWriter before = Console.Out;
        using var output = new StreamWriter(path);
        Console.SetOut(output);
        try
        {
            Assert.Equal(ExitCode.Ok, Run(line));
        }
        finally
        {
            Console.SetOut(before);
        }

        return path;
    }

    internal static int Run(string line)
    {
        MethodInfo main = typeof(ExitCode).Assembly.EntryPoint!;
        return (int)main.Invoke(null, [line.Split(' ', StringSplitOptions.RemoveEmptyEntries)])!;
    }
}
