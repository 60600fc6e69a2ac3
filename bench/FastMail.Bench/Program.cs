using BenchmarkDotNet.Exporters;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;

// Exit code 1, and each by name, when something that was asked for has not been measured.
string[] questions = ["--list", "--help", "--info", "--version"];
Summary[] summaries = [.. BenchmarkSwitcher.FromAssembly(typeof(FastMail.Bench.Server.AddressBench).Assembly).Run(args)];
List<string> failures = [];
if (summaries.Length == 0 && !args.Any(argument => questions.Contains(argument.Split('=')[0], StringComparer.Ordinal)))
{
    failures.Add("nothing was measured: the filter matches nothing, or an argument is wrong");
}

foreach (Summary summary in summaries)
{
    failures.AddRange(summary.ValidationErrors.Where(error => error.IsCritical).Select(error => error.Message));
    failures.AddRange(summary.BenchmarksCases
        .Where(one => summary[one] is not { Success: true })
        .Select(one => $"{FullNameProvider.GetBenchmarkName(one)} was not measured"));
}

failures.ForEach(failure => Console.Error.WriteLine($"FAILED  {failure}"));
return failures.Count == 0 ? 0 : 1;
