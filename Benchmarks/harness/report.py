"""Rows, their comparison, and how they are shown."""
import json
import os
import platform
import statistics
import subprocess
import time

import charts
from histogram import PERCENTILES, Histogram

LEAST_NOISE = 0.03  # of the median: below it a difference says nothing on any machine


class Result:
    """What was measured in one checkout."""

    def __init__(self, path, options=None):
        self.path, self.binaries, self.built = path, "", set()
        self.rows, self.histograms, self.skipped = {}, {}, []
        self.options, self.cache, self.group = options or {}, {}, ""
        self.commit = describe(path)

    def add(self, name, unit, value, higher):
        self.row(name, unit, higher)["values"].append(value)

    def row(self, name, unit, higher, **more):
        return self.rows.setdefault(
            name, {"group": self.group, "unit": unit, "higher is better": higher, "values": [], **more})

    def add_side(self, work, side, unit, value, higher):
        """One of several that do the same work."""
        self.row(f"{work}, {unit}: {side}", unit, higher, work=work, side=side)["values"].append(value)

    def add_times(self, work, side, times):
        """A histogram; the same of several rounds become one, and each round has its percentiles."""
        kept = self.histograms.setdefault((self.group, work, side), Histogram())
        kept.merge(times)
        for percent in PERCENTILES:
            if times.total * (100 - percent) < 100:
                continue  # the largest value says it
            self.add_side(f"{work}, p{percent}", side, "us", times.percentile(percent), higher=False)
        self.add_side(f"{work}, max", side, "us", times.maximum, higher=False)

    def skip(self, what, why):
        if (what, why) not in self.skipped:
            self.skipped.append((what, why))


def describe(path):
    found = subprocess.run(["git", "-C", path, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return found.stdout.strip() or os.path.basename(path)


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def version(*words):
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter((said.stdout or said.stderr).strip().splitlines()), "")


def machine():
    lines = read("/proc/cpuinfo").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    memory = next((line.split()[1] for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal")), "0")
    names = dict(line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0
    return {
        "processors": os.cpu_count(), "model": model, "memory GiB": round(int(memory) / 2**20, 1),
        "system": names.get("PRETTY_NAME", platform.system()).strip('"'), "kernel": platform.release(),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or "not told",
        "Swift": version("swift", "--version").partition(" (")[0],
        "libuv": version("pkg-config", "--modversion", "libuv"),
        "libsodium": version("pkg-config", "--modversion", "libsodium"),
        "libcrypto": version("pkg-config", "--modversion", "libcrypto"),
        "load": round(load, 1), "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


# ---- comparison ----

def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)["results"][0]["rows"]


def noise(values):
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / abs(middle) if middle else 0


def compare(before, after):
    rows = []
    for name, old in before.items():
        new = after.get(name)
        if not new:
            rows.append({"name": name, "verdict": "gone"})
            continue
        a, b = statistics.median(old["values"]), statistics.median(new["values"])
        bound = max(LEAST_NOISE, noise(old["values"]), noise(new["values"]))
        change = (b - a) / abs(a) if a else 0
        gain = change if old["higher is better"] else -change
        verdict = "better" if gain > bound else "worse" if gain < -bound else "same"
        if verdict != "same" and min(len(old["values"]), len(new["values"])) < 3:
            verdict += "?"
        rows.append({
            "name": name, "unit": old["unit"], "before": a, "after": b, "change": change, "noise": bound,
            "verdict": verdict})
    rows += [{"name": name, "verdict": "new"} for name in after if name not in before]
    return rows


def comparison_markdown(rows, before, after):
    lines = [
        f"Before: {before}. After: {after}. A question mark: fewer than three runs.", "",
        "| work | unit | before | after | change | noise | verdict |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if "before" in row:
            lines.append(
                f"| {row['name']} | {row['unit']} | {number(row['before'])} | {number(row['after'])} "
                f"| {row['change']:+.1%} | {row['noise']:.1%} | {row['verdict']} |")
        else:
            lines.append(f"| {row['name']} | | | | | | {row['verdict']} |")
    return "\n".join(lines)


# ---- output ----

def number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cell(values):
    middle = statistics.median(values)
    spread = noise(values)
    return number(middle) + (f" ±{spread:.0%}" if len(values) > 1 else "")


def side_tables(result, group):
    """Work by work, a column for each side: our figure first, the others with how many times better ours is."""
    rows = [row for row in result.rows.values() if row["group"] == group and "side" in row]
    sides = sorted(dict.fromkeys(row["side"] for row in rows), key=lambda side: not side.startswith("ours"))
    if not sides:
        return []
    works = {}
    for row in rows:
        works.setdefault((row["work"], row["unit"]), {})[row["side"]] = row
    lines = ["| work | unit | " + " | ".join(sides) + " |", "|---|---|" + "---:|" * len(sides)]
    for (work, unit), found in works.items():
        first = found.get(sides[0])
        cells = []
        for side in sides:
            row = found.get(side)
            text = cell(row["values"]) if row else ""
            if row and first and side != sides[0]:
                a, b = statistics.median(first["values"]), statistics.median(row["values"])
                gain = a / b if row["higher is better"] else b / a
                text += f" ({gain:.2g}x)" if a and b else ""
            cells.append(text)
        lines.append(f"| {work} | {unit} | " + " | ".join(cells) + " |")
    if len(sides) > 1:
        lines += ["", f"In brackets: how many times better {sides[0]} is."]
    return lines + [""]


def plain_table(result, group):
    rows = [(name, row) for name, row in result.rows.items() if row["group"] == group and "side" not in row]
    if not rows:
        return []
    lines = ["| work | unit | median | runs |", "|---|---|---:|---|"]
    for name, row in rows:
        values = row["values"]
        spread = f"{number(min(values))} to {number(max(values))}, {len(values)}"
        lines.append(f"| {name} | {row['unit']} | {number(statistics.median(values))} | {spread} |")
    return lines + [""]


def markdown(results, elsewhere, pictures=()):
    about = machine()
    lines = ["# Benchmarks", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", "Medians; ± is half of what the runs differ among themselves. Sides of one work ran in turn.", ""]
    for result in results:
        lines += [f"## {result.commit}", ""]
        for group in dict.fromkeys(row["group"] for row in result.rows.values()):
            lines += [f"### {group}", "", *side_tables(result, group), *plain_table(result, group)]
            lines += [f"![{title}]({name})\n" for name, title, of in pictures if of == group and result is results[0]]
        if result.skipped:
            lines += ["Skipped:", ""] + [f"- {what}: {why}" for what, why in result.skipped] + [""]
    for other in results[1:]:
        lines += [comparison_markdown(compare(results[0].rows, other.rows), results[0].commit, other.commit), ""]
    lines += ["Not in this table:", ""] + [f"- {what}: {where}" for what, where in elsewhere]
    return "\n".join(lines)


def write(out, results):
    import groups
    pictures = charts.pictures(results)
    listed = [(name, title, group) for name, title, group, _ in pictures]
    text = markdown(results, groups.ELSEWHERE, listed)
    content = {"machine": machine(), "results": [
        {"commit": result.commit, "rows": result.rows, "skipped": result.skipped,
         "histograms": [{"group": group, "work": work, "side": side, "counts": kept.counts}
                        for (group, work, side), kept in result.histograms.items()]} for result in results]}
    files = [("results.md", text), ("results.json", json.dumps(content, indent=1))]
    for name, body in files + [(name, body) for name, _, _, body in pictures]:
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            file.write(body + "\n")
    return text + f"\n\nIn {out}: results.md, results.json and {len(pictures)} charts."
