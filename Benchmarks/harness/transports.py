"""Transports side by side on 127.0.0.1, both ends as processes, without root: ours, libudx, TCP, QUIC, and limits."""
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

LIMIT = 90  # seconds of one transfer
QUIC = ("gtlsserver", "gtlsclient")  # the example programs of Debian's ngtcp2
SIDES = {
    "ours": "this transport, not encrypted",
    "libudx": "the reference, given by --libudx",
    "TCP": "the kernel's",
    "UDP, no offload": "bare sender and receiver, sendmmsg",
    "UDP, GSO and GRO": "bare sender and receiver",
    "WireGuard-like": "the same, each datagram sealed with ChaCha20-Poly1305",
    "frames on UDP": "the same, each 64 KiB sealed as one frame of a secret stream",
    "QUIC (ngtcp2)": "Debian's example server and client over HTTP/3, AES or ChaCha20 by negotiation",
}


def path_of(tool):
    return shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Programs:
    """What the transports need, built once per checkout."""

    def __init__(self, result, libudx=""):
        self.folder = os.path.join(result.path, "build", "bench")
        self.source = os.path.join(result.path, "Benchmarks")
        options = self.reference(libudx) if libudx else []
        self.run("cmake", "-S", os.path.join(self.source, "udx"), "-B", self.folder, *options)
        self.run("cmake", "--build", self.folder, "-j", "2")
        self.limits = self.build_limits(result)

    @staticmethod
    def run(*words):
        subprocess.run(words, check=True, stdout=sys.stderr)

    def reference(self, libudx):
        """libudx as a static library, from its source."""
        work = os.path.join(self.folder, "reference")
        os.makedirs(work, exist_ok=True)
        library = os.path.join(work, "libudx.a")
        sources = sorted(
            os.path.join(libudx, "src", name) for name in os.listdir(os.path.join(libudx, "src"))
            if name.endswith(".c") and "win" not in name.split("_")[-1].split(".")[0])
        if not os.path.exists(library):
            flags = ["-O2", "-DNDEBUG", "-D_GNU_SOURCE", "-w", "-I", os.path.join(libudx, "include")]
            subprocess.run(["cc", *flags, "-c", *sources], check=True, cwd=work)
            objects = [name for name in os.listdir(work) if name.endswith(".o")]
            subprocess.run(["ar", "rcs", library, *objects], check=True, cwd=work)
        return [f"-DUDX_REFERENCE_INCLUDE={os.path.join(libudx, 'include')}", f"-DUDX_REFERENCE_LIB={library}"]

    def build_limits(self, result):
        program = os.path.join(self.folder, "limits")
        cipher = os.path.join(result.path, "Sources", "CCipher")
        sources = [os.path.join(cipher, name) for name in sorted(os.listdir(cipher)) if name.endswith(".c")]
        words = ["cc", "-O2", "-DNDEBUG", "-DHYPER_LIBCRYPTO", "-I", os.path.join(cipher, "include"), "-o", program,
                 os.path.join(self.source, "Peers", "limits.c"), *sources, "-lcrypto", "-lsodium", "-lpthread"]
        if subprocess.run(words, stderr=subprocess.DEVNULL).returncode == 0:
            return program
        result.skip("WireGuard-like, frames on UDP, UDP without offload", "need libcrypto 3 and libsodium to build")
        return ""

    def udx(self, side):
        return os.path.join(self.folder, f"udxbench-{'ours' if side == 'ours' else 'ref'}")

    @property
    def raw(self):
        return os.path.join(self.folder, "udxbench-raw")

    @property
    def relay(self):
        return os.path.join(self.folder, "udxbench-relay")


# ---- one transfer ----

def start(words):
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True)
    if "ready" not in process.stdout.readline():
        process.kill()
        process.wait()
        raise RuntimeError(f"{os.path.basename(str(words[0]))} does not begin")
    return process


def finish(process):
    try:
        out, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError("took too long") from None
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if process.returncode or not lines:
        raise RuntimeError(f"ended with {process.returncode}")
    return json.loads(lines[-1])


def both(receiver, sender):
    """The results of both ends, of which the receiver is to begin first."""
    end = start(receiver)
    try:
        sent = subprocess.Popen([str(word) for word in sender], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                text=True)
        try:
            first = finish(sent)
        finally:
            if sent.poll() is None:
                sent.kill()
                sent.wait()
        return first, finish(end)
    finally:
        if end.poll() is None:
            end.kill()
            end.wait()


def figures(sent, received):
    size = received["bytes"]
    return {"MB/s": size / 1e6 / max(received["wall"], 1e-9), "CPU s/GB": (sent["cpu"] + received["cpu"]) / size * 1e9}


def udx(program, size, streams=1, seconds=8, relay=None, relay_program=""):
    """A transfer between two processes of Benchmarks/udx; through a relay that delays, drops and queues if given."""
    here, there = free_port(), free_port()
    to, back, pipe = there, here, None
    if relay is not None:
        to, back = free_port(), free_port()
        pipe = start([relay_program, "--a", to, "--b", back, "--a-peer", here, "--b-peer", there,
                      "--limit", seconds + 30, *relay])
    common = ["--streams", streams, "--bytes", size, "--seconds", seconds, "--limit", seconds + 25]
    try:
        return both([program, "recv", "--port", there, "--peer", back, "--cpu", 1, *common],
                    [program, "send", "--port", here, "--peer", to, "--cpu", 0, *common])
    finally:
        if pipe:
            pipe.send_signal(signal.SIGTERM)
            pipe.communicate(timeout=10)


def bare(program, kind, size, host=True):
    port = free_port(socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    place = ["127.0.0.1", port] if host else [port]
    return both([program, kind, "recv", *place, size, 1], [program, kind, "send", *place, size, 0])


def quic(size):
    """A file over HTTP/3. The client's clock begins with its process: the start is in the figure."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = os.path.join(folder, "key"), os.path.join(folder, "certificate")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                        "-days", "1", "-subj", "/CN=localhost"], check=True, capture_output=True)
        os.mkdir(os.path.join(folder, "files"))
        with open(os.path.join(folder, "files", "data"), "wb") as file:
            file.truncate(size)
        port = free_port()
        words = [path_of(QUIC[0]), "-q", "-d", os.path.join(folder, "files"), "127.0.0.1", str(port), key, certificate]
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begin = time.monotonic()
            subprocess.run([path_of(QUIC[1]), "-q", "--exit-on-all-streams-close", "127.0.0.1", str(port),
                            "https://localhost/data"], check=True, timeout=LIMIT, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
            wall = time.monotonic() - begin
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            client = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            with open(f"/proc/{server.pid}/stat", encoding="utf-8") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        finally:
            server.kill()
            server.wait()
    return {"cpu": used}, {"bytes": size, "wall": wall, "cpu": client}


# ---- groups ----

def bulk(result, programs, quick):
    size = 64_000_000 if quick else 512_000_000
    ways = {"ours": lambda: udx(programs.udx("ours"), size)}
    if os.path.exists(programs.udx("libudx")):
        ways["libudx"] = lambda: udx(programs.udx("libudx"), size // 4)
    else:
        result.skip("libudx", "its source is not given: --libudx FOLDER")
    ways["TCP"] = lambda: bare(programs.raw, "tcp", size)
    ways["UDP, GSO and GRO"] = lambda: bare(programs.raw, "gso", size)
    if programs.limits:
        for side, kind in (("UDP, no offload", "plain"), ("WireGuard-like", "wireguard"), ("frames on UDP", "frames")):
            ways[side] = lambda kind=kind: bare(programs.limits, kind, size // 2, host=False)
    if all(path_of(tool) for tool in (*QUIC, "openssl")):
        ways["QUIC (ngtcp2)"] = lambda: quic(size // 2)
    else:
        result.skip("QUIC (ngtcp2)", "apt-get install ngtcp2-client ngtcp2-server openssl")
    for side, way in ways.items():
        try:
            for unit, value in figures(*way()).items():
                result.add_side("bulk over 127.0.0.1", side, unit, value, higher=unit == "MB/s")
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            result.skip(side, f"failed: {error}")


def ping_pong(result, programs, quick):
    count = 2_000 if quick else 20_000
    for side in ("ours", "libudx"):
        program = programs.udx(side)
        if not os.path.exists(program):
            continue
        here, there = free_port(), free_port()
        pong = start([program, "pong", "--port", there, "--peer", here, "--cpu", 1, "--limit", 40])
        try:
            words = [program, "ping", "--port", here, "--peer", there, "--cpu", 0, "--count", count, "--seconds", 6,
                     "--limit", 30]
            said = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=LIMIT)
            line = json.loads(re.search(r"\{.*\}", said.stdout).group(0))
            for name in ("p50", "p99", "max"):
                result.add_side(f"64 B there and back, {name}", side, "us", line[name], higher=False)
        finally:
            pong.kill()
            pong.communicate()


# round trip in ms, loss in % each way, rate in Mbit/s with a queue of one bandwidth-delay product
GRID = [(10, 0, 0), (10, 1, 0), (40, 0, 0), (40, 1, 0), (40, 5, 0), (150, 1, 0), (40, 0, 50), (40, 1, 50), (150, 0, 10)]


def grid(result, programs, quick):
    for rtt, loss, rate in GRID[::3] if quick else GRID:
        shape = ["--delay", rtt / 2, "--loss", loss]
        name = f"{rtt} ms RTT, {loss} % loss each way"
        seconds = 3 if quick else 6
        size = 400_000_000
        if rate:
            shape += ["--rate", rate, "--queue", int(rate * 125 * rtt)]
            name += f", {rate} Mbit/s"
        for side in ("ours", "libudx"):
            if not os.path.exists(programs.udx(side)):
                continue
            try:
                sent, received = udx(programs.udx(side), size, 1, seconds, shape, programs.relay)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                result.skip(f"{name}, {side}", f"failed: {error}")
                continue
            result.add_side(name, side, "MB/s", figures(sent, received)["MB/s"], higher=True)


def workers(result, programs, quick):
    """One connection's encryption on a thread of its own: docs/decisions/0191."""
    if not programs.limits:
        return
    size = 64_000_000 if quick else 512_000_000
    for side, kind in (("on the same thread", "frames"), ("on another thread", "workers")):
        for unit, value in figures(*bare(programs.limits, kind, size, host=False)).items():
            result.add_side("frames of 64 KiB sealed and opened", side, unit, value, higher=unit == "MB/s")


def once(result, path, quick, parts):
    del path
    programs = result.cache.get("transports") or Programs(result, result.options.get("libudx", ""))
    result.cache["transports"] = programs
    for part in parts:
        part(result, programs, quick)
