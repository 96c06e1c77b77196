"""What is measured: a group is a set of rows that one program gives."""
import os
import re
import shutil
import subprocess
import sys
import time

import stacks
import swarms
import transports

LIMIT = 600  # seconds that one run may take


class Group:
    def __init__(self, product, once, needs=()):
        self.product, self.once, self.needs = product, once, needs

    def missing(self):
        for reason, is_there in self.needs:
            if not is_there():
                return reason
        return None

    def run(self, result, quick):
        try:
            self.once(result, program(result, self.product), quick)
        except (subprocess.SubprocessError, OSError, ValueError, RuntimeError) as error:
            result.skip(self.product or "transports", f"failed: {error}")


def command(*words, cwd=None, **options):
    done = subprocess.run(words, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True, timeout=LIMIT, **options)
    return done.stdout


def build(group, result):
    """The product, once per checkout; another commit may not have it."""
    if not group.product or group.product in result.built or result.options.get("built"):
        return True
    words = ["swift", "build", "-c", "release", "--product", group.product]
    if subprocess.run(words, cwd=result.path, stdout=sys.stderr).returncode:
        result.skip(group.product, "does not build there")
        return False
    result.built.add(group.product)
    return True


def program(result, product):
    if not product:
        return ""
    if not result.binaries:
        result.binaries = command("swift", "build", "-c", "release", "--show-bin-path", cwd=result.path).strip()
    return os.path.join(result.binaries, product)


ITEM = re.compile(r"^(?:(p\d+) )?([\d.]+) (.+)$")
PER_SECOND = re.compile(r"^([\d.]+)/s$")


def lines_to_rows(result, text):
    """`name: p50 1.2 us, 300/s, 0.1 CPU ms each`, a row for each figure."""
    for line in text.splitlines():
        name, colon, rest = line.partition(": ")
        if not colon:
            continue
        for item in rest.split(", "):
            if rate := PER_SECOND.match(item):
                result.add(f"{name}, rate", "/s", float(rate.group(1)), higher=True)
            elif match := ITEM.match(item):
                label, value, unit = match.groups()
                title = f"{name}, {label}" if label else f"{name}, {'CPU' if 'CPU' in unit else 'throughput'}"
                result.add(title, unit, float(value), higher=unit == "MB/s")


def stack(*words, quick):
    def once(result, path, is_quick):
        lines_to_rows(result, command(path, *(quick if is_quick else words)))
    return once


def small(result, path, quick):
    for size in (64, 256, 1024):
        lines_to_rows(result, command(path, "bulk", "4" if quick else "32", str(size)))


# ---- idle connections: three processes ----

def idle(result, path, quick):
    """Memory by the number of connections, wake-ups of the largest number."""
    for count in (100, 400) if quick else (100, 1000, 5000):
        idle_with(result, path, count, *((3, 3) if quick else (20, 10)))


def idle_with(result, path, count, settle, seconds):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([path, "testnet"], **pipes)]
    try:
        bootstrap = answer(processes[0])
        words = [bootstrap, str(count), str(seconds)]
        processes.append(subprocess.Popen([path, "idle-server", *words], **pipes))
        key = answer(processes[1])
        processes.append(subprocess.Popen([path, "idle-client", *words, key], **pipes))
        ends = processes[1:]
        for end in ends:
            answer(end)
        time.sleep(settle)
        for end in ends:
            end.stdin.write("measure\n")
            end.stdin.flush()
        for end in ends:
            take_idle(result, count, answer(end))
    finally:
        for process in reversed(processes):
            stacks.end(process)


def answer(process):
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError("a process of the idle workload has ended")
    return line


def take_idle(result, count, line):
    figures = dict(re.findall(r'"([^"]+)": (-?[\d.]+)', line))
    side = re.search(r'"side": "(\w+)"', line).group(1)
    if figures["alive"] != figures["connections"]:
        result.skip("idle", f"{side}: only {figures['alive']} of {figures['connections']} connections are left")
    for name in ("heap bytes each", "resident bytes each", "timer wake-ups/s", "arrival wake-ups/s", "CPU ms/s"):
        if float(figures[name]) >= 0:
            title, unit = (name[:-11], "bytes") if "bytes" in name else (name[:-2], "/s")
            if name.startswith("CPU"):
                title, unit = "CPU", "ms/s"
            result.add(f"{count} idle connections, {side}, {title}", unit, float(figures[name]), higher=False)


# ---- the others ----

def dht(result, path, quick):
    for line in command(path, "2000" if quick else "20000").splitlines():
        if match := re.match(r"(\w+): (\d+) ns per answer", line):
            result.add(f"answer to {match.group(1)}, without sockets", "ns", float(match.group(2)), higher=False)


def cipher(result, path, quick):
    header = []
    for line in command(path, "4" if quick else "32").splitlines():
        cells = [cell.strip() for cell in line.split("|")] if "|" in line else re.split(r"\s{2,}", line.strip())
        cells = [cell for cell in cells if cell]
        if not header and len(cells) > 2:
            header = cells
            continue
        if len(cells) != len(header) or not re.match(r"^\d", cells[0]):
            continue
        for name, cell in zip(header[1:], cells[1:]):
            if re.fullmatch(r"[\d.]+", cell):
                unit = "GB/CPU s" if name.startswith("raw") else "x raw"
                result.add(f"cipher, messages of {cells[0]}, {name}", unit, float(cell), higher=True)


def size(result, path, quick):
    """What a program with the whole stack takes on disk: the runtime of Swift is not in it."""
    del quick
    for name in (STACK, stacks.WORKLOADS):
        program = os.path.join(os.path.dirname(path), name)
        if not os.path.exists(program):
            continue
        copy = program + ".stripped"
        shutil.copyfile(program, copy)
        subprocess.run(["strip", copy], check=True)
        result.add(f"{name}, stripped", "bytes", os.path.getsize(copy), higher=False)
        os.remove(copy)


def dht_over_sockets(result, path, quick):
    """Beside a bare echo with recvmmsg and sendmmsg, and a node of the JavaScript stack."""
    script = os.path.join(result.path, "Benchmarks", "RPC", "run")
    words = [sys.executable, script, "--rounds", "1", "--seconds", "0.3" if quick else "1", "--node", path]
    found, why = stacks.javascript(result)
    if found:
        words += ["--node", os.path.join(result.path, "Benchmarks", "Peers", "javascript-node.js")]
    else:
        result.skip("JavaScript stack", why)
    for line in command(*words, stderr=sys.stderr).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] in ("ping", "find"):
            side = {"echo": "bare echo", "javascript-node.js": "JavaScript stack"}.get(cells[1], "ours")
            value = float(cells[2].replace(",", ""))
            result.add_side(f"{cells[0].upper()} over sockets", side, "answers/CPU s", value, higher=True)


def udx(result, path, quick):
    del path
    source = os.path.join(result.path, "Benchmarks", "udx")
    folder = os.path.join(result.path, "build", "bench")
    command("cmake", "-S", source, "-B", folder, stderr=sys.stderr)
    command("cmake", "--build", folder, "-j", "2", stderr=sys.stderr)
    words = [os.path.join(source, "run"), folder, "--repeat", "1"] + (["--quick"] if quick else [])
    work = ""
    for line in command(*words, stderr=sys.stderr).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) < 4 or cells[0] in ("work", "---"):
            continue
        work = cells[0] or work
        value = re.match(r"([\d.]+)", cells[3])
        if value:
            result.add(f"udx: {work}, {cells[1]}", "", float(value.group(1)), higher="MB/s" in cells[1])


def has(tool):
    return f"{tool} is not installed", lambda: shutil.which(tool) is not None


def parts(*functions):
    return lambda result, path, quick: transports.once(result, path, quick, functions)


def with_pair(work):
    return lambda result, path, quick: stacks.pair(result, path, quick, work)


IS_LINUX = ("needs Linux", lambda: sys.platform.startswith("linux"))
IS_ROOT = ("needs root, for network namespaces", lambda: os.geteuid() == 0)
STACK = "hyperswarm-benchmark-stack"

BUILDS_C = [IS_LINUX, has("cmake"), has("cc")]
LOADS = stacks.WORKLOADS

# Name -> what it measures, in the order of a whole run: what says most comes first.
GROUPS = {
    "stacks": Group(LOADS, with_pair("bulk")),
    "echo": Group(LOADS, with_pair("echo")),
    "connects": Group(LOADS, with_pair("connect")),
    "transports": Group("", parts(transports.bulk, transports.ping_pong), BUILDS_C),
    "grid": Group("", parts(transports.grid), BUILDS_C),
    "lookups": Group(LOADS, stacks.workload(("lookups", "200", "400"), quick=[("lookups", "60", "40")])),
    "flood": Group(LOADS, stacks.workload(("flood", "50"), ("flood", "500"), quick=[("flood", "50")])),
    "streams": Group(LOADS, stacks.workload(("streams", "100", "256"), ("streams", "1000", "256"),
                                            quick=[("streams", "50", "16")])),
    "cores": Group(LOADS, stacks.workload(*(("cores", str(n), "512") for n in (1, 2, 4)),
                                          quick=[("cores", "1", "32"), ("cores", "2", "32")])),
    "swarms": Group(LOADS, swarms.once),
    "simulation": Group(LOADS, stacks.workload(("simulation", "10000"), quick=[("simulation", "500")])),
    "workers": Group("", parts(transports.workers), BUILDS_C),
    "interfaces": Group("hyperswarm-benchmark-interfaces", stacks.through_c),
    "start": Group(LOADS, stacks.start),
    "idle": Group(STACK, idle, [IS_LINUX]),
    "bulk": Group(STACK, stack("bulk", "512", "65536", quick=("bulk", "32", "65536"))),
    "small": Group(STACK, small),
    "ping": Group(STACK, stack("ping", "10000", quick=("ping", "500"))),
    "connect": Group(STACK, stack("connect", "1000", quick=("connect", "50"))),
    "dht": Group("hyperswarm-benchmark-rpc", dht),
    "answers": Group("hyperswarm-benchmark-rpc", dht_over_sockets, [IS_LINUX, has("cc")]),
    "cipher": Group("hyperswarm-benchmark-secret-stream", cipher),
    "size": Group(STACK, size, [has("strip")]),
    "udx": Group("", udx, [IS_LINUX, IS_ROOT, has("cmake"), has("ip")]),
}
# With --quick these are left out: they take minutes even then, and what they show stands elsewhere in short.
NOT_QUICK = {"udx": "takes minutes; transports and grid have the same in short"}

# What is measured elsewhere.
ELSEWHERE = [
    ("swarms that meet disturbances for hours of virtual time", "Tests/Trials"),
    ("instructions per message, by callgrind", "Benchmarks/Interfaces/run"),
    ("allocations and system calls per operation", "counted by tests: Benchmarks/README.md"),
]
