#!/usr/bin/env python3
"""A short benchmark and a short load run, held to bench/baseline.json.

  bench/check.py [--history FILE]

Fails (exit code 1) when something allocates that the baseline says allocates nothing, when a benchmark costs more than
twice its recorded ratio to its obvious version, or when the server's rate beside the bare C servers of the same run falls
below half of the recorded ratio. Absolute times never fail. The last line counts the checks. --history appends the
figures of this run to a file, a JSON object a line. Build first: dotnet build -c Release FastMail.sln
"""

import argparse
import datetime
import glob
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
LEEWAY = 2.0
AGAIN = 2
BOUNDED = "AppendBench"  # a job given to it would be added to its own, with as many messages as it likes
CASES = {"20 x 1 KB": 0, "200 x 1 KB": 1, "20 x 1 KB pipelined": 2}


def benchmarks(filters):
    """Median nanoseconds and allocated octets by full name. What bounds itself keeps its own job, others get a short one."""
    bounded = [one for one in filters if BOUNDED in one]
    short = [one for one in filters if BOUNDED not in one]
    return (measure(short, "-i", "--job", "short") if short else {}) | (measure(bounded) if bounded else {})


def measure(filters, *job):
    with tempfile.TemporaryDirectory() as artifacts:
        subprocess.run(
            ["dotnet", "run", "-c", "Release", "--no-build", "--project", os.path.join(HERE, "FastMail.Bench"), "--",
             "--filter", *filters, *job, "--exporters", "briefjson", "--artifacts", artifacts],
            check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        found = {}
        for path in glob.glob(artifacts + "/results/*-report-brief.json"):
            with open(path, encoding="utf-8") as f:
                for one in json.load(f)["Benchmarks"]:
                    if one["Statistics"] is not None:
                        found[one["FullName"]] = (one["Statistics"]["Median"], one["Memory"]["BytesAllocatedPerOperation"])
        return found


def is_slow(found, name, reference, most):
    return name in found and reference in found and found[name][0] / found[reference][0] > most


def load(cases):
    """Ratios to the bare servers by case."""
    run = subprocess.run([sys.executable, os.path.join(HERE, "peers/compare.py"), "--repetitions", "3", "--share", "0.25",
                          "--cases", ",".join(str(i) for i in cases), "--json"],
                         check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return {row["case"]: row for row in json.loads(run.stdout) if row["server"] == "fastmail"}


class Verdict:
    def __init__(self):
        self.passed = self.failed = 0

    def __call__(self, is_right, text):
        self.passed += is_right
        self.failed += not is_right
        print(("passed  " if is_right else "FAILED  ") + text, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", metavar="FILE")
    arguments = parser.parse_args()
    with open(os.path.join(HERE, "baseline.json"), encoding="utf-8") as f:
        baseline = json.load(f)
    verdict, figures = Verdict(), {}
    costs = {name: (reference, recorded * LEEWAY) for name, (reference, recorded) in baseline["costs"].items()}
    found = benchmarks(baseline["filters"])
    for _ in range(AGAIN):
        slow = [name for name, cost in costs.items() if is_slow(found, name, *cost)]
        if slow:
            print(f"measuring again: {', '.join(slow)}", flush=True)
            # One by one, beside its reference: the class may have many others.
            found.update(benchmarks(sorted({one for name in slow for one in (name, costs[name][0])})))
    for prefix in baseline["allocatesNothing"]:
        names = [name for name in found if name.startswith(prefix)]
        verdict(names != [], f"{prefix} was measured")
        for name in names:
            verdict(found[name][1] == 0, f"{name} allocates {found[name][1]} octets")
    for name, (reference, recorded) in baseline["costs"].items():
        if name not in found or reference not in found:
            verdict(False, f"{name} and {reference} were measured")
            continue
        ratio = figures[name] = found[name][0] / found[reference][0]
        verdict(ratio <= recorded * LEEWAY, f"{name} costs {ratio:.2f} of {reference}, recorded {recorded}")
    rates = load(CASES.values())
    for _ in range(AGAIN):
        slow = [case for case, recorded in baseline["load"].items()
                if any(rates[case][of] < share / LEEWAY for of, share in recorded.items())]
        if slow:
            print(f"measuring again: {', '.join(slow)}", flush=True)
            rates.update(load(CASES[case] for case in slow))
    for case, recorded in baseline["load"].items():
        for of, share in recorded.items():
            ratio = figures[f"{case} {of}"] = rates[case][of]
            verdict(ratio >= share / LEEWAY, f"{case}: {ratio:.2f} {of.replace('_', ' the ')}, recorded {share}")
    if arguments.history:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        with open(arguments.history, "a", encoding="utf-8") as f:
            f.write(json.dumps({"at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                                "commit": commit.stdout.strip(), **figures}) + "\n")
    print(f"{verdict.passed} passed, {verdict.failed} failed, 0 skipped")
    sys.exit(verdict.failed != 0)


if __name__ == "__main__":
    main()
