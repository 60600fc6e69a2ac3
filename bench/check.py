#!/usr/bin/env python3
"""A short benchmark and a short load run, held to bench/baseline.json.

  bench/check.py [--history FILE]

Fails (exit code 1) when something allocates that the baseline says allocates nothing, when a benchmark costs more than
twice its recorded ratio to its obvious version, or when the server's rate beside the bare C servers of the same run falls
below half of the recorded ratio. What the baseline names and this run has not measured fails too, with what the program
said of it. Absolute times never fail. The last line counts the checks. --history appends the figures of this run to a
file, a JSON object a line. FASTMAIL_BENCH_DIR is a directory on the disk that is meant [default: /var/tmp where there is
one, else the folder for temporary files]. Build first: dotnet build -c Release FastMail.sln
"""

import argparse
import datetime
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(HERE, "peers"))
import rounds  # noqa: E402

LEEWAY = 2.0
AGAIN = 2
TOLD_LINES = 60  # of what a program said that failed
BOUNDED = "AppendBench"  # a job given to it would be added to its own, with as many messages as it likes
CASES = {"20 x 1 KB": 0, "200 x 1 KB": 1, "20 x 1 KB pipelined": 2}


def benchmarks(filters, verdict):
    """Median nanoseconds and allocated octets by full name. What bounds itself keeps its own job, others get a short one."""
    bounded = [one for one in filters if BOUNDED in one]
    short = [one for one in filters if BOUNDED not in one]
    found = measure(short, verdict, "-i", "--job", "short") if short else {}
    return found | (measure(bounded, verdict) if bounded else {})


def measure(filters, verdict, *job):
    with tempfile.TemporaryDirectory() as artifacts:
        run = subprocess.run(
            ["dotnet", "run", "-c", "Release", "--no-build", "--project", os.path.join(HERE, "FastMail.Bench"), "--",
             "--filter", *filters, *job, "--exporters", "briefjson", "--artifacts", artifacts],
            cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        if run.returncode != 0:
            verdict(False, f"FastMail.Bench ended with {run.returncode}:\n{causes(run.stdout)}{tail(run.stderr)}")
        return rows(artifacts)


def rows(artifacts):
    """A benchmark that failed has a row without figures, and one that is not measured for memory has none of that: neither
    counts as found."""
    found = {}
    for path in glob.glob(artifacts + "/results/*-report-brief.json"):
        with open(path, encoding="utf-8") as f:
            for one in json.load(f)["Benchmarks"]:
                statistics, memory = one["Statistics"], one.get("Memory") or {}
                if statistics is not None and memory.get("BytesAllocatedPerOperation") is not None:
                    found[one["FullName"]] = (statistics["Median"], memory["BytesAllocatedPerOperation"])
    return found


def causes(output):
    """The exceptions with where they were thrown: BenchmarkDotNet prints them long before its end. Else the tail."""
    lines = output.splitlines()
    near = {near for at, line in enumerate(lines) if re.search(r"Exception|^ *--->|ERROR", line) for near in range(at, at + 3)}
    return tail("\n".join(line for at, line in enumerate(lines) if at in near) or output)


def tail(text):
    return "".join(line + "\n" for line in text.splitlines()[-TOLD_LINES:])


def is_slow(found, name, reference, most):
    return name in found and reference in found and found[name][0] / found[reference][0] > most


def judge_costs(baseline, found, verdict, figures):
    """What allocates, and ratios to obvious versions. Every name of the baseline must have been measured."""
    for name in baseline["allocatesNothing"]:
        if name in found:
            verdict(found[name][1] == 0, f"{name} allocates {found[name][1]} octets")
        else:
            verdict(False, f"{name} was not measured")
    for name, (reference, recorded) in baseline["costs"].items():
        missing = [one for one in (name, reference) if one not in found]
        if missing:
            verdict(False, f"{' and '.join(missing)}: not measured")
            continue
        ratio = figures[name] = found[name][0] / found[reference][0]
        verdict(ratio <= recorded * LEEWAY, f"{name} costs {ratio:.2f} of {reference}, recorded {recorded}")


def load(cases, directory, verdict):
    """Ratios to the bare servers by case. Of a run that fails there is none."""
    numbers = [str(CASES[case]) for case in cases if case in CASES]
    if not numbers:
        return {}
    run = subprocess.run([sys.executable, os.path.join(HERE, "peers/compare.py"), "--repetitions", "3", "--share", "0.25",
                          "--cases", ",".join(numbers), "--directory", directory, "--json"],
                         capture_output=True, text=True, errors="replace", check=False)
    if run.returncode != 0:
        verdict(False, f"compare.py ended with {run.returncode}:\n{tail(run.stdout)}{tail(run.stderr)}")
        return {}
    return {row["case"]: row for row in json.loads(run.stdout) if row["server"] == "fastmail"}


def judge_load(baseline, rates, verdict, figures):
    for case, recorded in baseline["load"].items():
        for of, share in recorded.items():
            if of not in rates.get(case, {}):
                verdict(False, f"{case} {of}: not measured")
                continue
            ratio = figures[f"{case} {of}"] = rates[case][of]
            verdict(ratio >= share / LEEWAY, f"{case}: {ratio:.2f} {of.replace('_', ' the ')}, recorded {share}")


class Verdict:
    def __init__(self):
        self.passed = self.failed = 0

    def __call__(self, is_right, text):
        self.passed += is_right
        self.failed += not is_right
        print(("passed  " if is_right else "FAILED  ") + text, flush=True)


def check(baseline, directory, verdict):
    """The figures by the names of the baseline."""
    figures = {}
    costs = {name: (reference, recorded * LEEWAY) for name, (reference, recorded) in baseline["costs"].items()}
    found = benchmarks(baseline["filters"], verdict)
    for _ in range(AGAIN):
        slow = [name for name, cost in costs.items() if is_slow(found, name, *cost)]
        if slow:
            print(f"measuring again: {', '.join(slow)}", flush=True)
            # One by one, beside its reference: the class may have many others.
            found.update(benchmarks(sorted({one for name in slow for one in (name, costs[name][0])}), verdict))
    judge_costs(baseline, found, verdict, figures)
    rates = load(baseline["load"], directory, verdict)
    for _ in range(AGAIN):
        slow = [case for case, recorded in baseline["load"].items()
                if any(rates.get(case, {}).get(of, share) < share / LEEWAY for of, share in recorded.items())]
        if slow:
            print(f"measuring again: {', '.join(slow)}", flush=True)
            rates.update(load(slow, directory, verdict))
    judge_load(baseline, rates, verdict, figures)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", metavar="FILE")
    arguments = parser.parse_args()
    with open(os.path.join(HERE, "baseline.json"), encoding="utf-8") as f:
        baseline = json.load(f)
    verdict = Verdict()
    disk = os.environ.get("FASTMAIL_BENCH_DIR") or rounds.disk()
    with tempfile.TemporaryDirectory(prefix="fastmail-check-", dir=disk) as directory:
        os.environ["FASTMAIL_BENCH_DIR"] = directory
        figures = check(baseline, directory, verdict)
    if arguments.history:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        with open(arguments.history, "a", encoding="utf-8") as f:
            f.write(json.dumps({"at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                                "commit": commit.stdout.strip(), **figures}) + "\n")
    print(f"{verdict.passed} passed, {verdict.failed} failed, 0 skipped")
    sys.exit(verdict.failed != 0)


if __name__ == "__main__":
    main()
