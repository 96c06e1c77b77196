"""An internet in network namespaces: a core with a distance, hosts, NAT boxes of several kinds, a private DHT.

The core is a router that sends every packet through a tun device (delay.c) and drops what arrives with a small TTL, as
if it had travelled eight hops more. Addresses are not from the private ranges, so that the tool takes them for public.
"""

import itertools
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time

from . import rules
from .processes import Capture, LabError, Process, flush_conntrack, run

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BOOTSTRAP = "5.0.0.1:49737"
RELAY_ADDRESS = "5.3.0.2"
ONE_WAY_DELAY = 20  # milliseconds
COUNTER = itertools.count(1)
# Namespaces are made and removed one at a time: iproute2 mounts and unmounts.
MAKING = threading.Lock()


class Site:
    """A host, the NAT boxes before it from the inside out, and its public address."""

    def __init__(self, kind, network):
        self.kind = kind
        self.public, self.gateway = network + "2", network + "1"
        self.host, self.nats = None, []

    @property
    def edge(self):
        """The namespace that has the public address."""
        return self.nats[-1] if self.nats else self.host


class World:
    def __init__(self, settings, distance=ONE_WAY_DELAY, network=8):
        self.tool, self.settings = settings.tool, settings
        self.prefix = f"hnl{os.getpid()}x{next(COUNTER)}"
        self.namespaces, self.processes, self.captures = [], [], []
        self.links = itertools.count(1)
        self.sites = {}
        self.distance, self.made = distance, time.monotonic()
        self.folder = tempfile.mkdtemp(prefix="netlab")
        try:
            self.make_core()
            self.namespace("dht")
            self.attach("dht", "5.0.0.1", "5.0.0.254")
            self.namespace("relay")
            self.attach("relay", RELAY_ADDRESS, "5.3.0.1")
            if network:
                self.start_network(network)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in self.processes:
            process.kill()
        self.keep_logs()
        for capture in self.captures:
            capture.close()
        with MAKING:
            for name in self.namespaces:
                run(["ip", "netns", "del", self.prefix + name], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep_logs(self):
        """With --logs: the lines of all processes in the order of time, under the name of the case."""
        if not self.settings.logs:
            return
        lines = []
        for number, process in enumerate(self.processes):
            lines.append((process.began, number, "begins: " + process.name))
            lines += [(moment, number, line) for moment, line in process.lines]
            if process.ended:
                lines.append((process.ended, number, f"ends with {process.code}"))
        path = os.path.join(self.settings.logs, f"{threading.current_thread().name}.{self.prefix}.log")
        with open(path, "w", encoding="utf-8") as file:
            for moment, number, line in sorted(lines):
                file.write(f"{moment - self.made:9.3f} [{number}] {line}\n")

    # ---- Plumbing

    def namespace(self, name):
        with MAKING:
            run(["ip", "netns", "add", self.prefix + name])
        self.namespaces.append(name)
        self.ip(name, "link set lo up")
        return name

    def ip(self, name, command, check=True):
        return run(["ip", "-n", self.prefix + name, *command.split()], check=check)

    def execute(self, name, *arguments, check=True):
        return run(["ip", "netns", "exec", self.prefix + name, *arguments], check=check)

    def sysctl(self, name, *settings):
        self.execute(name, "sysctl", "-qw", *settings)

    def nft(self, name, text):
        run(["ip", "netns", "exec", self.prefix + name, "nft", "-f", "-"], input=text)

    def remove_table(self, name, table):
        self.execute(name, "nft", "delete", "table", "ip", table, check=False)

    def make_core(self):
        self.namespace("core")
        self.sysctl("core", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
                    "net.ipv4.conf.default.rp_filter=0")
        if self.distance:
            delayer = Process(self.prefix + "core", [self.settings.delay_program, str(self.distance)],
                              lines_of_stdout=True)
            self.processes.append(delayer)
            if not delayer.line("ready", 10)[1]:
                raise LabError("no tun device: " + delayer.text())
            self.ip("core", "link set tun0 up")
            self.ip("core", "link set tun0 txqueuelen 5000")
            self.ip("core", "route add default dev tun0 table 100")
        self.nft("core", rules.short_lived(not self.distance))

    def attach(self, name, address, gateway, device="eth0", is_default=True):
        """Gives a namespace an interface on the internet."""
        link = f"v{next(self.links)}"
        run(["ip", "link", "add", link, "netns", self.prefix + "core", "type", "veth",
             "peer", "name", device, "netns", self.prefix + name])
        self.ip("core", f"addr add {gateway}/24 dev {link}")
        self.ip("core", f"link set {link} up")
        if self.distance:
            self.ip("core", f"rule add iif {link} lookup 100 prio 100")
        self.ip(name, f"addr add {address}/24 dev {device}")
        self.ip(name, f"link set {device} up")
        if is_default:
            self.ip(name, f"route add default via {gateway}")
        return link

    def lan(self, router, host, router_address, host_address, router_device="in0", host_device="eth0"):
        """A cable between a router's inside and a host."""
        run(["ip", "link", "add", router_device, "netns", self.prefix + router, "type", "veth",
             "peer", "name", host_device, "netns", self.prefix + host])
        self.ip(router, f"addr add {router_address}/24 dev {router_device}")
        self.ip(router, f"link set {router_device} up")
        self.ip(host, f"addr add {host_address}/24 dev {host_device}")
        self.ip(host, f"link set {host_device} up")
        self.ip(host, f"route add default via {router_address}")

    def nat(self, name, kind, address, inner):
        self.sysctl(name, "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
        self.execute(name, "nft", "flush", "ruleset")
        self.nft(name, rules.nat(kind, address, inner))
        if kind == "short":
            self.sysctl(name, "net.netfilter.nf_conntrack_udp_timeout=10",
                        "net.netfilter.nf_conntrack_udp_timeout_stream=15")

    # ---- Places

    def site(self, side, kind):
        """A place of the kind, on the server's ("s") or the client's ("c") side."""
        key = (side, kind)
        if key in self.sites:
            return self.sites[key]
        number = len(self.sites) + 1
        site = Site(kind, {"s": f"31.{number}.0.", "c": f"62.{number}.0."}[side])
        self.sites[key] = site
        tag = f"{side}{number}"
        site.host = self.namespace("h" + tag)
        if kind in ("pub", "pubfw"):
            site.core_link = self.attach(site.host, site.public, site.gateway)
            if kind == "pubfw":
                self.nft(site.host, rules.FIREWALL)
            return site
        outer = self.namespace("n" + tag)
        site.core_link = self.attach(outer, site.public, site.gateway)
        site.nats = [outer]
        if kind == "cgnat":
            inner = self.namespace("m" + tag)
            self.lan(outer, inner, f"100.64.{number}.1", f"100.64.{number}.2")
            self.nat(outer, "port", site.public, f"100.64.{number}.2")
            site.nats = [inner, outer]
        else:
            inner = outer
        self.lan(inner, site.host, f"192.168.{number}.1", f"192.168.{number}.10")
        self.nat(inner, kind if kind != "cgnat" else "port", site.public, f"192.168.{number}.10")
        site.inner_address, site.inner_gateway = f"192.168.{number}.10", f"192.168.{number}.1"
        return site

    def neighbours(self):
        """Two hosts on one cable behind one box that does not lead its own public address back inside."""
        box = self.namespace("nlan")
        self.attach(box, "77.1.0.2", "77.1.0.1")
        self.ip(box, "link add in0 type bridge")
        self.ip(box, "addr add 192.168.55.1/24 dev in0")
        self.ip(box, "link set in0 up")
        hosts = [self.namespace("lan1"), self.namespace("lan2")]
        for number, host in enumerate(hosts, 1):
            run(["ip", "link", "add", f"p{number}", "netns", self.prefix + box, "type", "veth",
                 "peer", "name", "eth0", "netns", self.prefix + host])
            self.ip(box, f"link set p{number} master in0 up")
            self.ip(host, f"addr add 192.168.55.1{number}/24 dev eth0")
            self.ip(host, "link set eth0 up")
            self.ip(host, "route add default via 192.168.55.1")
        self.nat(box, "port", "77.1.0.2", "")
        return hosts

    # ---- What happens to places

    def flush(self, site):
        for name in site.nats:
            flush_conntrack(self.prefix + name)
            for table in rules.SETS:
                self.execute(name, "nft", "flush", "set", "ip", "nat", table, check=False)

    def change_address(self, site):
        """The uplink of the site gets another public address; all mappings are gone."""
        new = site.public[:-1] + "7"
        self.ip(site.edge, f"addr del {site.public}/24 dev eth0")
        self.ip(site.edge, f"addr add {new}/24 dev eth0")
        self.ip(site.edge, f"route replace default via {site.gateway}")
        if site.nats:
            flush_conntrack(self.prefix + site.edge)
        site.public = new

    def uplink(self, site, is_up, at_host=False):
        """Takes the outer cable of the site's box away, or of the host itself, or gives it back."""
        name = site.host if at_host else site.edge
        gateway = site.inner_gateway if at_host and site.nats else site.gateway
        self.ip(name, f"link set eth0 {'up' if is_up else 'down'}")
        if is_up:
            self.ip(name, f"route replace default via {gateway}")

    def swallow(self, site, is_on):
        """The site's box, or the host itself, drops every datagram and says nothing."""
        if is_on:
            self.nft(site.edge, rules.HOLE)
        else:
            self.remove_table(site.edge, "hole")

    def roam(self, site, natted, pause=2.0):
        """The host leaves its network and appears after a pause behind another NAT, or with a public address.

        Returns the moment at which the new uplink is there.
        """
        name = "roam" + site.host
        if natted:
            self.namespace(name)
            self.attach(name, "44.1.0.2", "44.1.0.1")
        self.ip(site.host, "link del eth0")
        time.sleep(pause)
        if natted:
            self.nat(name, "port", "44.1.0.2", "192.168.77.10")
            self.lan(name, site.host, "192.168.77.1", "192.168.77.10")
            site.nats, site.inner_gateway = [name], "192.168.77.1"
        else:
            self.attach(site.host, "44.1.0.2", "44.1.0.1")
            site.nats = []
        site.public, site.gateway = "44.1.0.2", "44.1.0.1"
        return time.monotonic()

    def loss(self, percent):
        self.remove_table("core", "loss")
        if percent:
            self.nft("core", rules.loss(percent, "tun0" if self.distance else ""))

    def second_uplink(self, site, mtu=1500):
        """Another interface eth1 with a public address, and no route over it yet."""
        self.attach(site.host, "62.77.0.2", "62.77.0.1", device="eth1", is_default=False)
        self.ip(site.host, f"link set eth1 mtu {mtu}")
        self.sysctl(site.host, *(f"net.ipv4.conf.{name}.rp_filter=0" for name in ("all", "eth0", "eth1")))

    def capture(self, name, interface="eth0", outgoing=True):
        capture = Capture(self.prefix + name, interface, outgoing)
        self.captures.append(capture)
        return capture

    # ---- Processes

    def start(self, name, command, *arguments, bootstrap=BOOTSTRAP, **options):
        """The tool with a command in a namespace."""
        entry = ["--bootstrap", bootstrap] if bootstrap else []
        return self.program(name, [self.tool, command, *entry, *arguments], **options)

    def program(self, name, arguments, **options):
        process = Process(self.prefix + name, arguments, **options)
        self.processes.append(process)
        return process

    def limit_descriptors(self, process, count):
        run(["prlimit", f"--pid={process.pid}", f"--nofile={count}:"])

    def start_network(self, size=8):
        host, port = BOOTSTRAP.split(":")
        network = self.start("dht", "testnet", "--size", str(size), "--host", host, "--port", port, bootstrap=None,
                             lines_of_stdout=True)
        if not network.line(host, 30)[1]:
            raise LabError("no test network: " + network.text())

    def start_relay(self):
        """A blind relay and its key."""
        relay = self.start("relay", "relay", lines_of_stdout=True)
        line = relay.line("[0-9a-f]{64}", 20)[1]
        if not line:
            raise LabError("no relay: " + relay.text())
        return relay, re.search("[0-9a-f]{64}", line).group(0)

    def listen(self, host, *arguments, **options):
        """A listening tool and its key."""
        options.setdefault("stdin", subprocess.PIPE)
        server = self.start(host, "listen", *arguments, **options)
        line = server.line("listening as", 30)[1]
        if not line:
            raise LabError("no server: " + server.text())
        return server, re.search("[0-9a-f]{64}", line).group(0)
