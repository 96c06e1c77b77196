"""Rows of the table: attacks of this folder, of its C programs, and of the tests that report theirs."""

import collections
import glob
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ATTACKS = collections.OrderedDict()
Attack = collections.namedtuple("Attack", "name bound body quick")
Row = collections.namedtuple("Row", "attack bound measured verdict")


class Skipped(Exception):
    """This machine cannot run the attack."""


def attack(name, bound, quick=False):
    """Registers an attack: `body(tool)` returns the text of what was measured, and whether the bound has held."""
    def register(body):
        assert name not in ATTACKS, name
        ATTACKS[name] = Attack(name, bound, body, quick)
        return body
    return register


def run_inside(name, tool):
    """In the child process that has the world: prints what was measured as the last line."""
    try:
        measured, held = ATTACKS[name].body(tool)
        verdict = "held" if held else "BROKEN"
    except Skipped as reason:
        measured, verdict = str(reason), "skipped"
    print(json.dumps([measured, verdict]))


def run_attack(entry, tool, enter):
    command = [*enter, sys.executable, os.path.join(HERE, "run"), "--tool", tool, "--inside", entry.name]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        measured, verdict = json.loads(result.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        error = result.stderr.strip().splitlines()[-1:] or ["nothing was printed"]
        measured, verdict = f"no result: {error[0]}", "ERROR"
    return Row(entry.name, entry.bound, measured, verdict)


def run_steadily(entry, tool, enter, again):
    """The row of an attack; one that did not hold runs `again` times more, and holds, named, if it holds each time."""
    first = run_attack(entry, tool, enter)
    if not again or first.verdict in ("held", "skipped"):
        return first
    for _ in range(again):
        row = run_attack(entry, tool, enter)
        if row.verdict != "held":
            return first
    print(f"UNSTEADY {entry.name}: {first.measured}, then held {again} times", flush=True)
    return row._replace(measured=f"{row.measured} (first: {first.measured})")


def programs():
    """Names of the C programs of this folder (Tests/CUDX/CMakeLists.txt builds them)."""
    return sorted("attack_" + name[:-2] for name in os.listdir(HERE) if name.endswith(".c"))


def run_program(name, build):
    """Rows that it prints, `attack | bound | measured` each; its exit code says whether all bounds have held."""
    found = glob.glob(os.path.join(build, "**", name), recursive=True)
    if not found:
        return [Row(name, "", f"is not built: cmake --build {os.path.relpath(build, ROOT)} --target {name}", "skipped")]
    result = subprocess.run([found[0]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    rows = [line.split(" | ") for line in result.stdout.splitlines() if line.count(" | ") == 2]
    if not rows:
        return [Row(name, "", f"no result, code {result.returncode}: {result.stdout.strip()[-200:]}", "ERROR")]
    return [Row(*row, "held" if result.returncode == 0 else "BROKEN") for row in rows]


def reporting_tests():
    """{`Class/test`: file} of the Swift tests that report an attack."""
    tests = collections.OrderedDict()
    for folder, folders, files in os.walk(os.path.join(ROOT, "Tests")):
        folders.sort()
        for file in sorted(files):
            if not file.endswith("Tests.swift"):
                continue
            path = os.path.join(folder, file)
            with open(path, encoding="utf-8") as text:
                kind = test = None
                for line in text:
                    if found := re.search(r"\bclass (\w+):", line):
                        kind = found[1]
                    elif found := re.search(r"\bfunc (test\w+)\(", line):
                        test = found[1]
                    elif re.search(r"\breport\(\s*(attack:|$)|\"attack: ", line):
                        tests[f"{kind}/{test}"] = os.path.relpath(path, ROOT)
    return tests


def run_tests(tests, build=True):
    """Rows that the tests print: `attack: NAME | BOUND | MEASURED`. A test that fails has broken its bounds."""
    if not tests:
        return []
    names = "|".join(re.escape(test) for test in tests)
    command = ["swift", "test", "--filter", f"\\.({names})$"] + ([] if build else ["--skip-build"])
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    rows, waiting, ended = [], [], 0
    for line in result.stdout.splitlines():
        if found := re.search(r"attack: (.*) \| (?:bound: )?(.*) \| (?:measured: )?(.*)$", line):
            waiting.append(found.groups())
        elif found := re.search(r"^Test Case '.*' (passed|failed|skipped)", line):
            ended += 1
            verdict = {"passed": "held", "failed": "BROKEN", "skipped": "skipped"}[found[1]]
            rows += [Row(*row, verdict) for row in waiting]
            if not waiting and found[1] != "passed":
                rows.append(Row(line.split("'")[1], "", line, verdict))
            waiting = []
    if ended < len(tests) or result.returncode and all(row.verdict != "BROKEN" for row in rows):
        last = (result.stdout.strip().splitlines() or ["nothing was printed"])[-1]
        rows.append(Row("tests", "", f"{ended} of {len(tests)} have ended: {last}", "ERROR"))
    return rows


def markdown(rows):
    lines = ["| attack | bound | measured | verdict |", "|---|---|---|---|"]
    for row in rows:
        lines.append("| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in row) + " |")
    return "\n".join(lines)
