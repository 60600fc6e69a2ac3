using System.Diagnostics;
using Xunit;

namespace FastMail.Tests;

/// <summary>
/// A test in which a Python program judges what ours has made; skipped, aloud, where Debian's Python or the module it
/// needs is not installed.
/// </summary>
internal sealed class PythonFactAttribute : FactAttribute
{
    private const string Python = "/usr/bin/python3"; // the one that Debian's packages install their modules for

    /// <param name="module">What the program imports.</param>
    public PythonFactAttribute(string module)
    {
        if (!File.Exists(Python) || Run("-c", $"import {module}").Code != 0)
        {
            Skip = $"needs {Python} with the module {module}";
        }
    }

    /// <summary>Runs Python to its end.</summary>
    public static (int Code, string Output) Run(params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(Python, arguments)
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + errors.GetAwaiter().GetResult());
    }
}
