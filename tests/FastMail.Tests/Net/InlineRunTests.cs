using System.Diagnostics;
using FastMail.Net;
using Xunit;
using Xunit.Abstractions;

namespace FastMail.Tests.Net;

/// <summary>
/// The loop on the runtime's poll thread. That needs a switch before a process's first socket, which a test host has
/// long opened: so all tests of this folder run again in a child that is born with it.
/// </summary>
public sealed class InlineRunTests(ITestOutputHelper output)
{
    private static readonly TimeSpan ChildPatience = TimeSpan.FromMinutes(5);

    private static bool IsChild => Environment.GetEnvironmentVariable(LoopFixture.ThreadVariable) is not null;

    [Fact]
    public async Task Every_test_of_the_loop_passes_on_the_poll_thread_too()
    {
        if (IsChild)
        {
            return; // this is the run that the parent asserts
        }

        ProcessStartInfo start = new(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet")
        {
            ArgumentList =
            {
                "vstest",
                typeof(InlineRunTests).Assembly.Location,
                "--TestCaseFilter:FullyQualifiedName~FastMail.Tests.Net",
            },
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment[LoopFixture.ThreadVariable] = nameof(LoopThread.Inline);
        start.Environment["DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS"] = "1";
        start.Environment["DOTNET_SYSTEM_NET_SOCKETS_THREAD_COUNT"] = "1";

        using Process child = Process.Start(start)!;
        Task<string> said = child.StandardOutput.ReadToEndAsync();
        Task<string> complained = child.StandardError.ReadToEndAsync();
        using CancellationTokenSource patience = new(ChildPatience);
        try
        {
            await child.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            child.Kill(entireProcessTree: true);
        }

        string report = await said + await complained;
        output.WriteLine(report);
        Assert.True(child.ExitCode == 0 && report.Contains("Passed!", StringComparison.Ordinal), report);
    }

    [Fact]
    public void The_loop_runs_where_it_was_told_to_or_says_why_not()
    {
        EventLoopOptions options = new() { Failed = (_, _) => { }, Thread = LoopThread.Inline };
        if (IsChild)
        {
            using EventLoop inline = EventLoop.Start(options, TimeProvider.System);
            Assert.Equal(LoopThread.Inline, inline.Thread);
            return;
        }

        InvalidOperationException refusal = Assert.Throws<InvalidOperationException>(
            () => EventLoop.Start(options, TimeProvider.System));
        Assert.Contains("PrepareRuntime", refusal.Message, StringComparison.Ordinal);
        using EventLoop own = EventLoop.Start(new EventLoopOptions { Failed = (_, _) => { } }, TimeProvider.System);
        Assert.Equal(LoopThread.Own, own.Thread);
    }
}
