"""A network of its own: DHT nodes and attackers with public-looking addresses on one host, clients on another.

Made of network namespaces without names, inside a user namespace where this is not run as root: nothing leaves the
machine, and the kernel removes everything with the last process. Addresses of the loopback network would not do: no
budget holds for them.
"""

import json
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request

import rows

HERE = os.path.dirname(os.path.abspath(__file__))

# The host of the nodes and the server has every address of this network.
OWN, ATTACKERS, SERVER = "44.0.0.0/8", "44.128.0.0/9", ("44.9.9.9", 41000)
CLIENT_NET, GATEWAY, CLIENT = "45.1.1.0/24", "45.1.1.1", "45.1.1.2"
VICTIM = ("44.66.66.66", 5353)


class WorldError(Exception):
    """The world itself does not work: no verdict about the tool."""


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise WorldError(f"{' '.join(command)}: {result.stderr.strip()}")


def attacker():
    """One of the addresses that belong to attackers."""
    return f"44.{random.randint(128, 255)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


def enter_command():
    """What a command is run by to have a world, or None where the system does not permit it."""
    options = [["unshare", "--net"]] if os.geteuid() == 0 else []
    options.append(["unshare", "--user", "--map-root-user", "--net"])
    for option in options:
        try:
            probe = option + ["ip", "link", "set", "lo", "up"]
            if subprocess.run(probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return option
        except OSError:
            return None
    return None


# Clients that are measured: the tool's; the same without round-trip tokens, which deployed clients do not echo either;
# that of the JavaScript stack.
OURS, WITHOUT_TOKENS, JAVASCRIPT = "ours", "without tokens", "JavaScript"


def need_javascript():
    probe = [shutil.which("node") or "", "-e", "require('hyperdht')"]
    if not probe[0] or subprocess.run(probe, capture_output=True).returncode:
        raise rows.Skipped("needs node, with hyperdht in NODE_PATH")


class Process:
    """A program, by default the tool, that prints a JSON object a line; its lines of both streams, with times."""

    def __init__(self, world, arguments, elsewhere=False, program=None, environment=None):
        enter = ["nsenter", "--target", str(world.elsewhere.pid), "--net"] if elsewhere else []
        self.began, self.lines, self.changed = time.monotonic(), [], threading.Condition()
        self.process = subprocess.Popen(
            [*enter, program or world.tool, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=dict(os.environ, **(environment or {})))
        self.pid, self.stdin = self.process.pid, self.process.stdin
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append((time.monotonic() - self.began, line.decode(errors="replace")))
                self.changed.notify_all()
        with self.changed:
            self.lines.append((time.monotonic() - self.began, ""))
            self.changed.notify_all()

    def events(self, name):
        """(seconds since the start, fields) of the events of that name so far."""
        found = []
        for moment, line in list(self.lines):
            if line.startswith("{"):
                fields = json.loads(line)
                if fields.get("event") == name:
                    found.append((moment, fields))
        return found

    def wait(self, name, timeout, **wanted):
        """The first such event with the wanted fields, or None when the process or the time is over."""
        end = time.monotonic() + timeout
        while True:
            for moment, fields in self.events(name):
                if all(fields.get(key) == value for key, value in wanted.items()):
                    return moment, fields
            with self.changed:
                left = end - time.monotonic()
                if left <= 0 or self.lines and self.lines[-1][1] == "":
                    return None
                self.changed.wait(min(left, 0.2))

    def text(self):
        return " | ".join(line.strip() for _, line in self.lines)[-300:]

    def cpu(self):
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def count(self, name):
        """A counter that the tool serves with --metrics."""
        found = self.wait("metrics", 10)
        if not found:
            raise WorldError("no counters: " + self.text())
        address = found[1]["address"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return next(int(float(line.split()[1])) for line in lines if line.split()[0] == name)

    def memory(self):
        """Resident megabytes."""
        with open(f"/proc/{self.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def alive(self):
        return self.process.poll() is None

    def end(self):
        if self.alive():
            self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(5)
        self.process.stdin.close()
        self.process.stdout.close()


class World:
    """Use as a context; has to run inside what `enter_command` makes."""

    def __init__(self, tool, nodes=1, clients=False, filters=()):
        self.tool, self.processes, self.elsewhere = os.path.abspath(tool), [], None
        self.folder = tempfile.TemporaryDirectory(prefix="hyperswarm-attack-")
        self.nodes = [(f"44.{number}.0.1", 40000) for number in range(1, nodes + 1)]
        self.bootstrap = f"{self.nodes[0][0]}:{self.nodes[0][1]}"
        self.with_clients, self.filters = clients, filters

    def __enter__(self):
        try:
            run("ip", "link", "set", "lo", "up")
            run("ip", "address", "add", f"{SERVER[0]}/32", "dev", "lo")
            run("ip", "route", "add", "local", OWN, "dev", "lo", "src", SERVER[0])
            if self.with_clients:
                self.link()
            self.filter()
            for number, (host, port) in enumerate(self.nodes):
                way = ["--bootstrap", self.bootstrap] if number else ["--first"]
                self.start("node", *way, "--host", host, "--port", str(port), "--permanent", "--metrics", "0")
                time.sleep(0.5)
        except BaseException:
            self.__exit__()
            raise
        return self

    def filter(self):
        """Drops what the filters say: `ATTACKERS`, what is sent to addresses that no socket has, `SERVER`, what the
        server has not asked for."""
        rules = {ATTACKERS: f"ip daddr {ATTACKERS} drop", SERVER: f"ip daddr {SERVER[0]} ct state new drop"}
        if self.filters and not shutil.which("nft"):
            raise rows.Skipped("needs nft")
        for rule in [rules[name] for name in self.filters]:
            run("nft", "add table inet attack; add chain inet attack input { type filter hook input priority 0 ; }; "
                f"add rule inet attack input {rule}")

    def link(self):
        """The other host: a second namespace, held by a process that sleeps."""
        self.elsewhere = subprocess.Popen(["unshare", "--net", "sleep", "100000"])
        time.sleep(0.3)
        there = ("nsenter", "--target", str(self.elsewhere.pid), "--net")
        run("ip", "link", "add", "out", "type", "veth", "peer", "name", "in")
        run("ip", "link", "set", "in", "netns", str(self.elsewhere.pid))
        run("ip", "address", "add", f"{GATEWAY}/24", "dev", "out")
        run("ip", "link", "set", "out", "up")
        run("ip", "route", "replace", CLIENT_NET, "dev", "out", "src", SERVER[0])
        run(*there, "ip", "link", "set", "lo", "up")
        run(*there, "ip", "address", "add", f"{CLIENT}/24", "dev", "in")
        run(*there, "ip", "link", "set", "in", "up")
        run(*there, "ip", "route", "add", "default", "via", GATEWAY)

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.end()
        if self.elsewhere:
            self.elsewhere.kill()
            self.elsewhere.wait()
        self.folder.cleanup()

    def start(self, command, *arguments, elsewhere=False):
        process = Process(self, [command, "--json", *arguments], elsewhere)
        self.processes.append(process)
        return process

    def server(self):
        """A relay at SERVER, which is a server as any other, and its key."""
        process = self.start("relay", "--bootstrap", self.bootstrap, "--port", str(SERVER[1]), "--metrics", "0")
        found = process.wait("listening", 40)
        if not found:
            raise WorldError("the server does not start: " + process.text())
        return process, bytes.fromhex(found[1]["publicKey"])

    def connect(self, key, client=OURS):
        """A client elsewhere that connects."""
        if client == JAVASCRIPT:
            return Process(self, [os.path.join(HERE, "client.js"), self.bootstrap, key.hex()], True, "node")
        environment = {"HYPERSWARM_TEST_NO_TOKENS": "1"} if client == WITHOUT_TOKENS else {}
        arguments = ["connect", "--json", "--bootstrap", self.bootstrap, key.hex()]
        return Process(self, arguments, elsewhere=True, environment=environment)

    def connects(self, key, count, interval, client=OURS):
        """Real connects of clients elsewhere, one per interval: seconds to each connection, None for failures."""
        results, threads = [None] * count, []

        def connect(index):
            process = self.connect(key, client)
            found = process.wait("connection", 30)
            results[index] = found and found[0]
            process.end()

        for index in range(count):
            threads.append(threading.Thread(target=connect, args=(index,)))
            threads[-1].start()
            time.sleep(interval)
        for thread in threads:
            thread.join()
        return results


class Pace:
    """Calls at a rate: `due()` says how many are to be made now."""

    def __init__(self, rate):
        self.rate, self.made, self.began = rate, 0, time.monotonic()

    def seconds(self):
        return time.monotonic() - self.began

    def due(self):
        count = int(self.seconds() * self.rate) - self.made
        self.made += count
        return count
