"""The cases, their verdicts and the table."""

import collections
import concurrent.futures
import json
import os
import threading
import time
import traceback

from .processes import LabError

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CASES = collections.OrderedDict()
# More cases than these that do not hold are no disturbance by other processes of the machine.
MOST_AGAIN = 3
Case = collections.namedtuple("Case", "name criterion body quick needs seconds")
# now: text of the table; ok: the criterion holds; figures: what --json keeps.
Result = collections.namedtuple("Result", "now ok figures")


class Skipped(Exception):
    """This machine cannot run the case."""


def case(name, criterion, quick=False, needs=(), seconds=30):
    """Registers a case: what has to hold, whether --quick runs it, what it needs (a compiled program), its seconds."""
    def register(body):
        assert name not in CASES, name
        CASES[name] = Case(name, criterion, body, quick, needs, seconds)
        return body
    return register


def result(now, ok, **figures):
    return Result(now, bool(ok), figures)


def seconds(value):
    return "never" if value is None else f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


def percentile(values, share):
    """The nearest-rank percentile; a missing value is the largest."""
    ordered = sorted(float("inf") if value is None else value for value in values)
    value = ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
    return None if value == float("inf") else value


def repeat(settings, body):
    """What `body(number)` returns for each of --runs, up to --jobs of them at a time."""
    name = threading.current_thread().name

    def run(number):
        threading.current_thread().name = name
        return body(number)

    if settings.runs == 1:
        return [body(0)]
    with concurrent.futures.ThreadPoolExecutor(settings.jobs) as pool:
        return list(pool.map(run, range(settings.runs)))


def run_case(entry, settings):
    began = time.monotonic()
    threading.current_thread().name = entry.name
    row = {"case": entry.name, "criterion": entry.criterion}
    try:
        for need in entry.needs:
            if not getattr(settings, need):
                raise Skipped(f"no {need}")
        outcome = entry.body(settings)
        row.update(now=outcome.now, verdict="pass" if outcome.ok else "FAIL", figures=outcome.figures)
    except Skipped as reason:
        row.update(now=str(reason), verdict="skipped")
    except LabError as error:
        row.update(now=f"no result: {error}", verdict="ERROR")
    except Exception as error:  # one broken case does not end the table
        row.update(now=f"no result: {error!r}", verdict="ERROR", trace=traceback.format_exc())
    row["seconds"] = round(time.monotonic() - began, 1)
    row["load"] = round(os.getloadavg()[0], 1)
    return row


def run_again(entry, first, settings, report):
    """A case that did not hold beside others, alone, --again times: it holds if it holds each time, and says so."""
    for _ in range(settings.again):
        row = run_case(entry, settings)
        report(row)
        if row["verdict"] != "pass":
            return first
    print(f"UNSTEADY {entry.name}: {first['now']}, then held {settings.again} times alone", flush=True)
    return {**row, "now": f"{row['now']} (beside others: {first['now']})"}


def run_cases(entries, settings, jobs, report):
    """Rows in the order of the entries; the longest cases start first."""
    lock, rows = threading.Lock(), {}

    def work(entry):
        row = run_case(entry, settings)
        with lock:
            rows[entry.name] = row
            report(row)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work, entry) for entry in sorted(entries, key=lambda entry: -entry.seconds)]:
            future.result()
    broken = [entry for entry in entries if rows[entry.name]["verdict"] in ("FAIL", "ERROR")]
    if settings.again and len(broken) <= MOST_AGAIN:
        for entry in broken:
            rows[entry.name] = run_again(entry, rows[entry.name], settings, report)
    return [rows[entry.name] for entry in entries]


def known_figures(before=None):
    """{case: {"before": ..., "reference": ...}}; `before` names the --json output of an earlier run to compare with."""
    with open(os.path.join(HERE, "figures.json"), encoding="utf-8") as file:
        figures = json.load(file)
    if before:
        with open(before, encoding="utf-8") as file:
            for row in json.load(file)["rows"]:
                figures.setdefault(row["case"], {})["before"] = row["now"]
    return figures


def markdown(rows, figures):
    lines = ["| case | before | now | reference | criterion | verdict |", "|---|---|---|---|---|---|"]
    for row in rows:
        known = figures.get(row["case"], {})
        cells = [row["case"], known.get("before", ""), row["now"], known.get("reference", ""), row["criterion"],
                 row["verdict"]]
        lines.append("| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)
