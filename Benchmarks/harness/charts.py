"""Charts as SVG files: bars for works that several sides or commits do, curves of latencies by percentile."""
import math
import statistics

COLOURS = ["#2b6cb0", "#dd6b20", "#38a169", "#805ad5", "#d53f8c", "#718096", "#b7791f", "#319795"]
INK, SOFT, LINE = "#1a202c", "#718096", "#e2e8f0"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"
WIDTH, LABEL, VALUE, BAR = 900, 250, 170, 20


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def text(x, y, content, size=12, anchor="start", colour=INK, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}">{escape(content)}</text>')


def page(width, height, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" '
            f'height="{height:.0f}" font-family="{FONT}"><rect width="100%" height="100%" rx="8" fill="#ffffff"/>'
            f'{"".join(body)}</svg>')


def number(value):
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.3g} M"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


# Percentiles of which the curves say more.
ONLY_IN_TABLES = (", p90, us", ", p99.9, us", ", max, us")


class Colours:
    """A side has the same colour in every chart of a page of results."""

    def __init__(self):
        self.given = {}

    def __getitem__(self, side):
        return self.given.setdefault(side, COLOURS[len(self.given) % len(COLOURS)])


def works(results, group):
    """(title, unit, whether higher is better) -> [(label, side, values)], in the order of their first appearance."""
    found = {}
    for result in results:
        suffix = f" · {result.commit}" if len(results) > 1 else ""
        for name, row in result.rows.items():
            if row["group"] != group or not row["values"] or name.split(": ")[0].endswith(ONLY_IN_TABLES):
                continue
            if "side" in row:
                title, label, colour = row["work"], row["side"] + suffix, row["side"] + suffix
            else:
                head, _, rest = name.partition(", ")
                title, label, colour = head, (rest or head) + suffix, result.commit
            found.setdefault((title, row["unit"], row["higher is better"]), []).append((label, colour, row["values"]))
    for sides in found.values():
        sides.sort(key=lambda side: not side[0].startswith("ours"))
    return found


def bars(title, results, group, colours):
    """A block for each work, with a scale of its own; the best bar is named, ratios are against it."""
    y, body = 44, [text(24, 32, title, 18, weight="600")]
    firsts = {sides[0][0] for sides in works(results, group).values() if len(sides) > 1}
    if len(firsts) == 1:
        body.append(text(WIDTH - 24, 32, f"grey: times the figure of “{firsts.pop()}”", 11, "end", SOFT))
    for (work, unit, higher), sides in works(results, group).items():
        y += 26
        hint = "more is better" if higher else "less is better"
        body.append(text(24, y, work, 13, weight="600"))
        body.append(text(WIDTH - 24, y, f"{unit}, {hint}" if unit else hint, 11, "end", SOFT))
        middles = [statistics.median(values) for _, _, values in sides]
        largest = max(max(values) for _, _, values in sides) or 1
        scale = (WIDTH - LABEL - VALUE) / largest
        y += 8
        for (label, colour, values), middle in zip(sides, middles):
            width = max(middle * scale, 1)
            body.append(text(LABEL - 10, y + BAR - 6, label, 12, "end"))
            body.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR - 4}" rx="3" '
                        f'fill="{colours[colour]}"/>')
            end = width
            if len(values) > 1:
                low, high = LABEL + min(values) * scale, LABEL + max(values) * scale
                end = max(end, max(values) * scale)
                body.append(f'<path d="M{low:.1f} {y + 4}v{BAR - 12}M{high:.1f} {y + 4}v{BAR - 12}'
                            f'M{low:.1f} {y + BAR / 2 - 2}H{high:.1f}" stroke="{INK}" stroke-opacity="0.55" '
                            f'fill="none"/>')
            ratio = ""
            if len(sides) > 1 and middles[0] and middle and middle != middles[0]:
                ratio = f"  {middle / middles[0]:.2g}x"
            body.append(text(LABEL + end + 8, y + BAR - 6, number(middle), 12, weight="600"))
            if ratio:
                x = LABEL + end + 16 + 7.2 * len(number(middle))
                body.append(text(x, y + BAR - 6, ratio.strip(), 11, colour=SOFT))
            y += BAR
        y += 6
    return page(WIDTH, y + 18, body)


# ---- curves of latencies ----

NINES = [(0.5, "p50"), (0.1, "p90"), (0.01, "p99"), (0.001, "p99.9"), (0.0001, "p99.99")]
LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 70, 64, 640, 280


def time_text(microseconds):
    return f"{microseconds / 1000:g} ms" if microseconds >= 1000 else f"{microseconds:g} us"


def curve(title, histograms, colours):
    """Latency against the share of what is slower, both logarithmic: a straight line upwards is a heavy tail."""
    points = {side: histogram.curve() for side, histogram in histograms.items()}
    values = [value for line in points.values() for _, value in line if value > 0]
    low = 10 ** math.floor(math.log10(min(values)))
    high = max(10 ** math.ceil(math.log10(max(values))), low * 10)
    least = min(max(1 / histogram.total, 1e-4) for histogram in histograms.values())

    def x(share):
        share = min(max(share, least), 1)
        return LEFT + PLOT_WIDTH * math.log10(share) / math.log10(least)

    def y(value):
        return TOP + PLOT_HEIGHT * (1 - math.log10(max(value, low) / low) / math.log10(high / low))

    body = [text(24, 32, title, 18, weight="600")]
    step = low
    while step <= high:
        body.append(f'<path d="M{LEFT} {y(step):.1f}h{PLOT_WIDTH}" stroke="{LINE}"/>')
        body.append(text(LEFT - 8, y(step) + 4, time_text(step), 11, "end", SOFT))
        step *= 10
    for share, name in NINES:
        if share >= least:
            body.append(f'<path d="M{x(share):.1f} {TOP}v{PLOT_HEIGHT}" stroke="{LINE}"/>')
            body.append(text(x(share), TOP + PLOT_HEIGHT + 18, name, 11, "middle", SOFT))
    for place, (side, line) in enumerate(points.items()):
        path = " ".join(f"{x(share):.1f},{y(value):.1f}" for share, value in line)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colours[side]}" stroke-width="2.5" '
                    f'stroke-linejoin="round"/>')
        middle = histograms[side].percentile(50)
        top, right = TOP + 6 + 40 * place, LEFT + PLOT_WIDTH + 18
        body.append(f'<rect x="{right}" y="{top}" width="14" height="14" rx="3" fill="{colours[side]}"/>')
        body.append(text(right + 22, top + 12, side, 12))
        body.append(text(right + 22, top + 27, f"p50 {time_text(float(number_of(middle)))}", 11, colour=SOFT))
    return page(WIDTH, TOP + PLOT_HEIGHT + 40, body)


def number_of(value):
    return f"{value:.3g}"


TITLES = {
    "stacks": "Encrypted bulk through the whole stack", "transports": "Transports on 127.0.0.1",
    "grid": "Long, lossy and narrow paths", "cores": "Loops in one process",
    "workers": "Encryption on another thread", "flood": "Many dials at once", "streams": "Many connections at once",
    "interfaces": "Interfaces of the stack", "idle": "Idle connections", "answers": "Answers of a DHT node",
}


def pictures(results):
    """(file, title, group, SVG) for whatever was measured."""
    colours, found = Colours(), []
    for group in dict.fromkeys(row["group"] for result in results for row in result.rows.values()):
        timed = {}
        for result in results:
            suffix = f" · {result.commit}" if len(results) > 1 else ""
            for (of, work, side), histogram in result.histograms.items():
                if of == group and histogram.total > 1:
                    timed.setdefault(work, {})[side + suffix] = histogram
        title = TITLES.get(group, group.capitalize())
        found.append((f"{group}.svg", title, group, bars(title, results, group, colours)))
        for place, (work, histograms) in enumerate(timed.items()):
            name = f"{group}-latency{f'-{place + 1}' if place else ''}.svg"
            found.append((name, work, group, curve(f"Latency: {work}", histograms, colours)))
    return found
