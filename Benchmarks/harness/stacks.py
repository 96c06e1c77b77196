"""Whole stacks side by side: programs that do the same work with the same arguments and tell the same lines."""
import glob
import json
import os
import shutil
import subprocess
import sys
import time

from histogram import of

LIMIT = 240  # seconds that one run may take
WORKLOADS = "hyperswarm-benchmark-workloads"
HEADERS = os.path.join("include", "hyperdht", "hyperdht.h")


def lines(text):
    for line in text.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def take(result, side, text):
    """A row for each figure, and for single times a histogram."""
    for line in lines(text):
        if "times" in line:
            result.add_times(line["work"], side, of(line["times"]))
        else:
            result.add_side(f"{line['work']}, {line['metric']}", side, line["unit"], line["value"], line["higher"])


def run(words, **options):
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=LIMIT, **options)
    if done.returncode:
        raise RuntimeError(f"ended with {done.returncode}")
    return done.stdout


def end(process):
    """A process that ends with its input."""
    process.stdin.close()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Network:
    """A private network of five nodes in a process of its own, whose work counts for nobody."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "testnet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.bootstrap = self.process.stdout.readline().strip()
        if not self.bootstrap:
            raise RuntimeError("the private network does not begin")

    def __enter__(self):
        return self.bootstrap

    def __exit__(self, *_):
        end(self.process)


def through_the_c_interface(result):
    product = "hyperswarm-benchmark-c"
    if not result.options.get("built"):
        if subprocess.run(["swift", "build", "-c", "release", "--product", product], cwd=result.path,
                          stdout=sys.stderr).returncode:
            return None, "does not build"
    program = os.path.join(result.binaries, product)
    return ([program], "") if os.path.exists(program) else (None, f"there is no {product}")


def javascript(result):
    if not shutil.which("node"):
        return None, "node is not installed"
    found = subprocess.run(["node", "-e", "require('hyperdht')"], capture_output=True)
    if found.returncode:
        return None, "NODE_PATH has no package hyperdht"
    return ["node", os.path.join(result.path, "Benchmarks", "Peers", "javascript.js")], ""


def port_in_cpp(result):
    """The C++ port, from its source. It asks public nodes as well, so it runs where there is only loopback."""
    source = result.options.get("cpp", "")
    if not source:
        return None, "its source is not given: --cpp FOLDER"
    if not os.path.exists(os.path.join(source, HEADERS)):
        return None, f"{source} has no {HEADERS}"
    if os.geteuid() or not shutil.which("unshare"):
        return None, "needs root: it asks public nodes, too, and is given a namespace without a network"
    folder = os.path.join(result.path, "build", "bench", "cpp")
    program = os.path.join(folder, "peer")
    if not os.path.exists(program):
        os.makedirs(folder, exist_ok=True)
        udx = os.path.join(source, "deps", "libudx")
        if not os.path.exists(os.path.join(udx, "include", "udx.h")):
            return None, f"{udx} is empty: its source belongs there"
        include = ["-I", os.path.join(source, "include"), "-I", os.path.join(udx, "include")]

        def sources(path, end):
            return sorted(os.path.join(path, n) for n in os.listdir(path) if n.endswith(end) and n != "io_win.c")
        print("the C++ port is being built, some minutes", file=sys.stderr, flush=True)
        flags = ["-O2", "-DNDEBUG", "-w", "-c"]
        # Both have a file of the name udx.
        for place, words in (
            ("libudx", ["cc", *flags, "-D_GNU_SOURCE", *include, *sources(os.path.join(udx, "src"), ".c")]),
            ("port", ["c++", *flags, "-std=c++20", *include, *sources(os.path.join(source, "src"), ".cpp"),
                      os.path.abspath(os.path.join(result.path, "Benchmarks", "Peers", "hyperdht-cpp.cpp"))]),
        ):
            os.makedirs(os.path.join(folder, place), exist_ok=True)
            if subprocess.run(words, cwd=os.path.join(folder, place), stderr=subprocess.DEVNULL).returncode:
                return None, f"{place} does not build"
        objects = [path for place in ("libudx", "port") for path in glob.glob(os.path.join(folder, place, "*.o"))]
        if subprocess.run(["c++", "-o", "peer", *objects, "-luv", "-lsodium"], cwd=folder).returncode:
            return None, "does not link"
    return [program], ""


class LoneNetwork:
    """The same in a namespace of its own, with what is to run beside it."""

    def __init__(self, program, peer):
        # The network lives as long as the shell, so the shell is not replaced by the last command.
        script = 'ip link set lo up && coproc network { "$0" testnet; } && read -r entry <&"${network[0]}" && ' \
                 'timeout 60 "$1" "$2" "$entry" "${@:3}"; exit $?'
        self.words = ["unshare", "--net", "bash", "-c", script, program, *peer]


def sides(result, program):
    """Name -> words before the arguments."""
    found = {"ours": [program, "pair"]}
    for name, make in (
        ("ours, through C", through_the_c_interface), ("JavaScript stack", javascript), ("C++ port", port_in_cpp),
    ):
        words, why = result.cache.get(name) or make(result)
        result.cache[name] = (words, why)
        if words:
            found[name] = words
        else:
            result.skip(name, why)
    return found


def pair(result, path, quick, work):
    # The others have both nodes on one loop; ours have a thread each, unless told otherwise.
    one_loop = {"ours, one loop": [path, "pair"]} if work == "echo" else {}
    counts = {
        "bulk": [("400", "65536"), ("4000", "1024")] if quick else [("6000", "65536"), ("100000", "1024")],
        "echo": [("500",)] if quick else [("10000",)],
        "connect": [("30",)] if quick else [("500",)],
    }[work]
    for arguments in counts:
        for side, words in {**sides(result, path), **one_loop}.items():
            # The others are slower: less of the same work gives as good a figure.
            mine = list(arguments)
            if not side.startswith("ours"):
                mine[0] = str(max(int(mine[0]) // 4, 20))
            try:
                if side == "C++ port":
                    text = run(LoneNetwork(path, [words[0], work]).words + mine, stderr=subprocess.DEVNULL)
                else:
                    asked = work + "-one-loop" * (side in one_loop)
                    with Network(path) as bootstrap:
                        text = run([*words, asked, bootstrap, *mine], stderr=subprocess.DEVNULL)
                if not any(lines(text)):
                    raise RuntimeError("told nothing")
                take(result, side, text)
            except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
                result.skip(f"{work}, {side}", f"failed: {error}")


def workload(*full, quick):
    """One run of the program of ours, whose lines are rows."""
    def once(result, path, is_quick):
        for words in quick if is_quick else full:
            take(result, "ours", run([path, *words]))
    return once


def start(result, path, quick):
    """From the start of the process until the node can be used, and until it has ended."""
    times = []
    with Network(path) as bootstrap:
        for _ in range(3 if quick else 20):
            begin = time.monotonic()
            process = subprocess.Popen([path, "start", bootstrap], stdout=subprocess.PIPE, text=True)
            process.stdout.readline()
            times.append((time.monotonic() - begin) * 1e6)
            take(result, "ours", process.communicate(timeout=LIMIT)[0])
    result.add_times("start of a process until its node is in the network", "ours", of(times))


def through_c(result, path, quick):
    """The C interface beside Swift's, both peers on one loop."""
    text = run([path, "all", "4000" if quick else "40000", "1000"])
    for line in text.splitlines():
        name, colon, rest = line.partition(" messages: ")
        if not colon:
            continue
        side = "ours, through C" if name.startswith("C") else "ours, Swift"
        side += ", await write" if "await" in name else ""
        work = "64 B there and back" if "back" in name else "a message of 1,000 bytes"
        for item in rest.split(", "):
            value, unit = item.split(" ", 1)
            if unit.startswith("allocations"):
                result.add_side(f"{work}, allocations", side, "each", float(value), False)
            elif "processor" not in unit:
                result.add_side(f"{work}, time of both sides", side, "us", float(value), False)
