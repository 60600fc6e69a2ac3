using BenchmarkDotNet.Running;

BenchmarkSwitcher.FromAssembly(typeof(FastMail.Bench.Server.AddressBench).Assembly).Run(args);
