"""Rows, their comparison, and how they are shown."""
import json
import os
import platform
import statistics
import subprocess
import time

LEAST_NOISE = 0.03  # of the median: below it a difference says nothing on any machine


class Result:
    """What was measured in one checkout."""

    def __init__(self, path):
        self.path, self.binaries, self.built = path, "", set()
        self.rows, self.skipped = {}, []
        self.commit = describe(path)

    def add(self, name, unit, value, higher):
        row = self.rows.setdefault(name, {"unit": unit, "higher is better": higher, "values": []})
        row["values"].append(value)

    def skip(self, what, why):
        if (what, why) not in self.skipped:
            self.skipped.append((what, why))


def describe(path):
    found = subprocess.run(["git", "-C", path, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return found.stdout.strip() or os.path.basename(path)


def machine():
    model = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        model = platform.processor()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0
    return {
        "processors": os.cpu_count(), "model": model, "system": f"{platform.system()} {platform.release()}",
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


def markdown(results, elsewhere):
    about = machine()
    system = f"{about['processors']} processors, {about['system']}, load {about['load']}"
    lines = [
        f"{about['model']}, {system}, {about['date']}.",
        "Medians, and the smallest and the largest run.", ""]
    for result in results:
        lines += [f"## {result.commit}", "", "| work | unit | median | runs |", "|---|---|---|---|"]
        for name, row in result.rows.items():
            values = row["values"]
            spread = f"{number(min(values))} to {number(max(values))}, {len(values)}"
            lines.append(f"| {name} | {row['unit']} | {number(statistics.median(values))} | {spread} |")
        lines.append("")
        for what, why in result.skipped:
            lines.append(f"Skipped: {what}: {why}.")
        lines.append("")
    for other in results[1:]:
        lines += [comparison_markdown(compare(results[0].rows, other.rows), results[0].commit, other.commit), ""]
    lines += ["Not in this table:", ""] + [f"- {what}: {where}" for what, where in elsewhere]
    return "\n".join(lines)


def write(out, results):
    import groups
    text = markdown(results, groups.ELSEWHERE)
    content = {"machine": machine(), "results": [
        {"commit": result.commit, "rows": result.rows, "skipped": result.skipped} for result in results]}
    for name, body in (
        ("results.md", text), ("results.json", json.dumps(content, indent=1)), ("results.svg", chart(results))
    ):
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            file.write(body + "\n")
    return text + f"\n\nIn {out}: results.md, results.json, results.svg."


COLOURS = ["#3465a4", "#cc5a00", "#4e9a06", "#75507b"]
WIDTH, LABEL, VALUE, BAR = 960, 420, 150, 14


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def kind(name, unit):
    """Rows of one kind share a scale: their bars can be compared. Rows without a unit have a scale of their own."""
    return (name.split(" ")[0].strip(",:"), unit) if unit else (name, "")


def sections(results):
    """The rows of all checkouts by kind, in the order of their first appearance."""
    found = {}
    for name, row in results[0].rows.items():
        sides = [(place, r.rows[name]["values"]) for place, r in enumerate(results) if name in r.rows]
        found.setdefault(kind(name, row["unit"]), []).append((name, sides))
    return found


def bar(place, values, scale, unit, y):
    middle = statistics.median(values)
    low, high = (LABEL + edge(values) * scale for edge in (min, max))
    return (
        f'<rect x="{LABEL}" y="{y}" width="{middle * scale:.1f}" height="{BAR - 3}" '
        f'fill="{COLOURS[place % len(COLOURS)]}"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 5.5}" y2="{y + 5.5}" stroke="#222"/>'
        f'<text x="{high + 6:.1f}" y="{y + 10}">{number(middle)} {escape(unit)}</text>')


def chart(results):
    """A bar per row and checkout, and a line for the spread; a section for each kind of rows."""
    body, y = [], 30
    for place, result in enumerate(results):
        body.append(
            f'<rect x="{10 + 240 * place}" y="8" width="12" height="12" fill="{COLOURS[place % len(COLOURS)]}"/>'
            f'<text x="{27 + 240 * place}" y="18">{escape(result.commit)}</text>')
    for (_, unit), rows in sections(results).items():
        largest = max(max(values) for _, sides in rows for _, values in sides) or 1
        scale = (WIDTH - LABEL - VALUE) / largest
        body.append(f'<line x1="10" x2="{WIDTH - 10}" y1="{y - 4}" y2="{y - 4}" stroke="#ddd"/>')
        for name, sides in rows:
            body.append(f'<text x="{LABEL - 8}" y="{y + 10}" text-anchor="end">{escape(name)}</text>')
            for place, values in sides:
                body.append(bar(place, values, scale, unit, y))
                y += BAR
            y += 3
        y += 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(body)}</svg>')
