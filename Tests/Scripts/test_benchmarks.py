#!/usr/bin/env python3
"""Benchmarks/harness: percentiles, verdicts, tables and charts, of made-up figures."""
import json
import os
import subprocess
import sys
import tempfile
import xml.dom.minidom

sys.dont_write_bytecode = True
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "Benchmarks", "harness"))
import histogram  # noqa: E402
import report  # noqa: E402

failures = 0


def check(name, condition, detail=""):
    global failures
    print(f"{'ok' if condition else 'FAILED'} benchmarks {name}" + (f": {detail}" if not condition else ""))
    failures += not condition


def percentiles():
    places = [histogram.Histogram.place(value / 10) for value in range(1, 200_000)]
    whole = set(range(places[0], places[-1] + 1))
    check("buckets follow each other", places == sorted(places) and set(places) == whole)
    wrong = [v for v in range(1, 1_000_000, 37)
             if abs(histogram.Histogram.value(histogram.Histogram.place(v / 10)) - v / 10) > max(0.016 * v / 10, 0.05)]
    check("two significant digits", not wrong, wrong[:3])
    kept = histogram.of(range(1, 1001))
    close = [abs(kept.percentile(p) - p * 10) <= p * 0.2 for p in (50, 90, 99, 99.9)]
    check("percentiles", all(close) and abs(kept.maximum - 1000) <= 16, [kept.percentile(p) for p in (50, 90, 99)])
    other = histogram.of([5.0] * 1000)
    other.merge(kept)
    check("merged", other.total == 2000 and other.percentile(25) == histogram.of([5.0]).percentile(50))
    again = histogram.Histogram(json.loads(json.dumps(other.counts)))
    check("through JSON", again.counts == other.counts)


def rows(**values):
    return {name: {"unit": "s", "higher is better": False, "values": list(of), "group": "g"}
            for name, of in values.items()}


def verdicts():
    before = rows(slower=(10, 10, 10), faster=(10, 10, 10), same=(10, 10, 10), noisy=(8, 10, 12), gone=(1,), few=(10,))
    after = rows(slower=(11, 11, 11), faster=(9, 9, 9), same=(10.2,) * 3, noisy=(11.5,) * 3, few=(20,), new=(1,))
    found = {row["name"]: row["verdict"] for row in report.compare(before, after)}
    wanted = {"slower": "worse", "faster": "better", "same": "same", "noisy": "same", "gone": "gone", "few": "worse?",
              "new": "new"}
    check("verdicts", found == wanted, found)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, of in (("a", before), ("b", after)):
            paths.append(os.path.join(folder, name))
            with open(paths[-1], "w", encoding="utf-8") as file:
                json.dump({"results": [{"rows": of}]}, file)
        run = os.path.join(ROOT, "Benchmarks", "run")
        done = subprocess.run([sys.executable, run, "--compare", *paths], capture_output=True, text=True)
        check("a regression fails", done.returncode == 1 and "| worse |" in done.stdout, done.stdout + done.stderr)
        done = subprocess.run([sys.executable, run, "--compare", paths[0], paths[0]], capture_output=True, text=True)
        check("the same does not", done.returncode == 0 and "worse" not in done.stdout, done.stdout + done.stderr)


def output():
    result = report.Result(ROOT)
    result.group = "echo"
    for number in range(3):
        result.add_times("echo", "theirs", histogram.of([200 + number] * 2000))
        result.add_times("echo", "ours <fast>", histogram.of([100 + number] * 2000))
    result.group = "size"
    result.add("program, stripped", "bytes", 4_000_000, higher=False)
    result.skip("QUIC", "not installed")
    with tempfile.TemporaryDirectory() as folder:
        report.write(folder, [result])
        names = sorted(os.listdir(folder))
        check("files", names == ["echo-latency.svg", "echo.svg", "results.json", "results.md", "size.svg"], names)
        for name in names:
            if name.endswith(".svg"):
                xml.dom.minidom.parse(os.path.join(folder, name))
        with open(os.path.join(folder, "results.md"), encoding="utf-8") as file:
            text = file.read()
        check("ratios against ours", "| echo, p50 | us | 101" in text and "(2x)" in text, text)
        check("what was skipped", "- QUIC: not installed" in text and "![" in text)
        with open(os.path.join(folder, "results.json"), encoding="utf-8") as file:
            content = json.load(file)
        kept = content["results"][0]["histograms"]
        check("histograms", {row["side"] for row in kept} == {"theirs", "ours <fast>"}
              and all(sum(row["counts"].values()) == 6000 for row in kept), kept)


percentiles()
verdicts()
output()
sys.exit(1 if failures else 0)
