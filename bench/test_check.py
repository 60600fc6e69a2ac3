#!/usr/bin/env python3
"""bench/check.py and FastMail.Bench notice what was not measured. Needs the Release build; a second or two a test."""

import contextlib
import copy
import io
import json
import os
import subprocess
import tempfile
import unittest
from unittest import mock

import check

with open(os.path.join(check.HERE, "baseline.json"), encoding="utf-8") as baseline_file:
    BASELINE = json.load(baseline_file)


def judged(judge, *arguments):
    """What was printed of the failed, a line each."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        verdict = check.Verdict()
        judge(*arguments, verdict, {})
    failed = [line for line in said.getvalue().splitlines() if line.startswith("FAILED")]
    assert len(failed) == verdict.failed and verdict.passed + verdict.failed > 0, said.getvalue()
    return failed


def good():
    """Every benchmark of the baseline at its recorded ratio, allocating nothing."""
    found = {name: (1.0, 0) for name in BASELINE["allocatesNothing"]}
    for name, (reference, recorded) in BASELINE["costs"].items():
        found[reference] = (100.0, 64)
        found[name] = (100.0 * recorded, 0)
    return found


def bench(*arguments, **environment):
    run = subprocess.run(["dotnet", "run", "-c", "Release", "--no-build", "--project", os.path.join(check.HERE, "FastMail.Bench"),
                          "--", *arguments], capture_output=True, text=True, check=False, cwd=check.ROOT,
                         env={**os.environ, **environment})
    return run.returncode, run.stdout + run.stderr


class Costs(unittest.TestCase):
    def test_what_is_as_recorded_passes(self):
        self.assertEqual(judged(check.judge_costs, BASELINE, good()), [])

    def test_each_name_of_the_baseline_must_be_measured(self):
        for name in good():
            found = good()
            del found[name]
            failed = judged(check.judge_costs, BASELINE, found)
            self.assertTrue(any(name in line and "not measured" in line for line in failed), (name, failed))

    def test_one_octet_fails(self):
        name = BASELINE["allocatesNothing"][0]
        self.assertEqual(len(judged(check.judge_costs, BASELINE, {**good(), name: (1.0, 1)})), 1)

    def test_more_than_twice_the_cost_fails(self):
        name, (_, recorded) = next(iter(BASELINE["costs"].items()))
        self.assertEqual(judged(check.judge_costs, BASELINE, {**good(), name: (199.0 * recorded, 0)}), [])
        self.assertEqual(len(judged(check.judge_costs, BASELINE, {**good(), name: (201.0 * recorded, 0)})), 1)

    def test_rows_without_figures_are_not_found(self):
        with tempfile.TemporaryDirectory() as artifacts:
            os.mkdir(artifacts + "/results")
            with open(artifacts + "/results/X-report-brief.json", "w", encoding="utf-8") as f:
                json.dump({"Benchmarks": [
                    {"FullName": "failed", "Statistics": None, "Memory": None},
                    {"FullName": "memory not measured", "Statistics": {"Median": 1.0}},
                    {"FullName": "whole", "Statistics": {"Median": 1.0}, "Memory": {"BytesAllocatedPerOperation": 0}},
                ]}, f)
            self.assertEqual(check.rows(artifacts), {"whole": (1.0, 0)})


class Load(unittest.TestCase):
    def test_what_is_as_recorded_passes(self):
        self.assertEqual(judged(check.judge_load, BASELINE, copy.deepcopy(BASELINE["load"])), [])

    def test_each_case_must_be_measured(self):
        for case, recorded in BASELINE["load"].items():
            rates = copy.deepcopy(BASELINE["load"])
            del rates[case]
            self.assertEqual(len(judged(check.judge_load, BASELINE, rates)), len(recorded))

    def test_less_than_half_of_the_rate_fails(self):
        case, recorded = next(iter(BASELINE["load"].items()))
        rates = copy.deepcopy(BASELINE["load"])
        rates[case]["of_store"] = recorded["of_store"] * 0.49
        self.assertEqual(len(judged(check.judge_load, BASELINE, rates)), 1)

    def test_a_run_that_fails_says_why(self):
        failed = subprocess.CompletedProcess([], 1, "", "cc: no such file\n")
        verdict = check.Verdict()
        with mock.patch("subprocess.run", return_value=failed), contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(check.load(BASELINE["load"], "/", verdict), {})
        self.assertEqual(verdict.failed, 1)
        self.assertIn("cc: no such file", said.getvalue())


class Program(unittest.TestCase):
    def test_a_benchmark_that_throws_fails_with_its_cause(self):
        verdict = check.Verdict()
        with mock.patch.dict(os.environ, FASTMAIL_BENCH_DIR="/no/such/disk"), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            found = check.measure(["*AddressBench.Known(Addresses: 1000)"], verdict, "-i", "--job", "dry")
        self.assertEqual((found, verdict.failed), ({}, 1))
        self.assertIn("FASTMAIL_BENCH_DIR is no directory: /no/such/disk", said.getvalue())
        self.assertIn("AddressBench.Known(Addresses: 1000) was not measured", said.getvalue())

    def test_a_filter_that_matches_nothing_fails(self):
        code, said = bench("--filter", "*NoSuchBench*")
        self.assertEqual(code, 1, said)
        self.assertIn("nothing was measured", said)

    def test_a_question_is_answered(self):
        self.assertEqual(bench("--list", "flat")[0], 0)

    def test_the_baseline_names_what_there_is(self):
        _, listed = bench("--list", "flat")
        methods = {name.split("(")[0] for name in good()}
        self.assertEqual(methods - {line.split("(")[0] for line in listed.splitlines()}, set())


if __name__ == "__main__":
    unittest.main()
