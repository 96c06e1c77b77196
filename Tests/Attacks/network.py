"""A network of namespaces: DHT nodes, a server and attackers with public-looking addresses in one, clients in another.

Needs root, iproute2 and nftables. Nothing leaves the machine, and everything is removed at the end.
"""

import json
import os
import random
import subprocess
import tempfile
import threading
import time

SERVER = ("44.9.9.9", 41000)
NODES = [(f"44.{number}.0.1", 40000) for number in range(1, 7)]
CLIENT_NET, CLIENT_GATEWAY, CLIENT = "44.200.0.0/24", "44.200.0.1", "44.200.0.2"


def attacker():
    """One of a million addresses that belong to attackers."""
    return f"44.{random.randint(96, 111)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Network:
    def __init__(self, tool, firewalled):
        self.tool = tool
        self.folder = tempfile.TemporaryDirectory(prefix="hyperswarm-attack-")
        self.name = f"hsa{os.getpid()}"
        self.clients = self.name + "c"
        self.processes = []
        try:
            self._link()
            if firewalled:
                self._firewall()
            self._start_nodes()
            self._start_server()
        except BaseException:
            self.close()
            raise

    def _link(self):
        for name in (self.name, self.clients):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", self.name, "addr", "add", f"{SERVER[0]}/32", "dev", "lo")
        # Every address from 44.0 to 44.127 is this namespace's own, so that attackers may use any of them.
        run("ip", "-n", self.name, "route", "add", "local", "44.0.0.0/9", "dev", "lo", "src", SERVER[0])
        run("ip", "-n", self.name, "link", "add", "out", "type", "veth", "peer", "name", "in", "netns", self.clients)
        run("ip", "-n", self.name, "addr", "add", f"{CLIENT_GATEWAY}/24", "dev", "out")
        run("ip", "-n", self.clients, "addr", "add", f"{CLIENT}/24", "dev", "in")
        run("ip", "-n", self.name, "link", "set", "out", "up")
        run("ip", "-n", self.clients, "link", "set", "in", "up")
        run("ip", "-n", self.clients, "route", "add", "default", "via", CLIENT_GATEWAY)
        run("ip", "-n", self.name, "route", "replace", CLIENT_NET, "dev", "out", "src", SERVER[0])
        # What attackers get is for no socket: no complaints about that.
        self._nft("add table inet attack")
        self._nft("add chain inet attack input { type filter hook input priority 0 ; }")
        self._nft("add rule inet attack input ip daddr 44.96.0.0/12 drop")

    def _firewall(self):
        self._nft(f"add rule inet attack input ip daddr {SERVER[0]} ct state new drop")

    def _nft(self, rule):
        run("ip", "netns", "exec", self.name, "nft", rule)

    def spawn(self, *arguments, clients=False, **streams):
        name = self.clients if clients else self.name
        return subprocess.Popen(["ip", "netns", "exec", name, self.tool, *arguments], **streams)

    def _start(self, *arguments):
        log = os.path.join(self.folder.name, f"{len(self.processes)}.log")
        with open(log, "w") as output:
            self.processes.append(self.spawn(*arguments, stdout=output, stderr=subprocess.STDOUT))
        return log

    def _start_nodes(self):
        for index, (host, port) in enumerate(NODES):
            way = ["--first"] if index == 0 else ["--bootstrap", f"{NODES[0][0]}:{NODES[0][1]}"]
            self._start("node", *way, "--host", host, "--port", str(port), "--permanent", "--json")
            time.sleep(0.7)

    def _start_server(self):
        bootstrap = f"{NODES[0][0]}:{NODES[0][1]}"
        log = self._start("relay", "--bootstrap", bootstrap, "--port", str(SERVER[1]), "--json")
        self.server = self.processes[-1].pid
        end = time.time() + 30
        while time.time() < end:
            with open(log) as lines:
                for line in lines:
                    if "publicKey" in line:
                        self.key = json.loads(line)["publicKey"]
                        time.sleep(5)
                        return
            time.sleep(0.2)
        with open(log) as lines:
            raise SystemExit("the server does not start: " + lines.read())

    def usage(self):
        """CPU seconds, descriptors and megabytes of the server."""
        with open(f"/proc/{self.server}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        with open(f"/proc/{self.server}/status") as file:
            resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        return cpu, len(os.listdir(f"/proc/{self.server}/fd")), resident / 1024

    def connect(self, results):
        """One real `connect`; its seconds to the connection go to `results`, `None` for a failure."""
        begin = time.time()
        bootstrap = f"{NODES[0][0]}:{NODES[0][1]}"
        process = self.spawn(
            "connect", "--bootstrap", bootstrap, "--json", self.key, clients=True, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        timer = threading.Timer(30, process.kill)
        timer.start()
        line = process.stderr.readline()
        results.append(time.time() - begin if b'"connection"' in line else None)
        timer.cancel()
        process.terminate()
        process.stdin.close()
        process.stderr.close()
        process.wait()

    def close(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        for name in (self.name, self.clients):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        self.folder.cleanup()
