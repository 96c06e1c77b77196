"""Entering the network through lists of which parts are dead, and leaving it in the midst of that."""

import os
import re
import time

from .table import case, result, seconds
from .world import BOOTSTRAP, World

DEAD = "192.0.2.1"
EXTRA = 0.3  # seconds that a dead entry or a dead resolver may cost


class Entrance:
    """A host whose resolver is under the case's control, before a network with a black hole."""

    def __init__(self, world):
        self.world = world
        self.host = world.site("s", "pub").host
        world.ip("core", "route add blackhole 192.0.2.0/24")
        self.files = {}

    def resolver(self, server, hosts=()):
        """Names are asked of `server`, or with None only of `hosts`."""
        self.write("resolv.conf", f"nameserver {server}\n" if server else "")
        self.write("nsswitch.conf", "hosts: files dns\n" if server else "hosts: files\n")
        self.write("host.conf", "multi on\n")
        self.write("hosts", "127.0.0.1 localhost\n" + "".join(line + "\n" for line in hosts))

    def write(self, name, text):
        path = os.path.join(self.world.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        if os.path.exists("/etc/" + name):
            self.files[name] = path

    def program(self, arguments, **options):
        """A process that sees the files of the case in /etc: in a mount namespace of its own."""
        script = "".join(f"mount --bind {path} /etc/{name} && " for name, path in self.files.items()) + 'exec "$@"'
        return self.world.program(self.host, ["sh", "-c", script, "sh", *arguments], **options)

    def time(self, bootstrap, command="lookup", argument="topic", tries=2):
        """Seconds of the fastest of a few runs, and the text of the last one."""
        best, text = None, ""
        for _ in range(tries):
            process = self.program([self.world.tool, command, "--bootstrap", bootstrap, argument], lines_of_stdout=True)
            end = process.end(45)
            text = process.text(100)
            if end is not None and process.code == 0:
                best = min(best or 99, end - process.began)
            process.kill()
        return best, text


def dead_entries(settings, lists, command):
    with World(settings) as world:
        entrance = Entrance(world)
        key = "topic"
        entrance.resolver("127.0.0.1")
        if command == "connect":
            # One server for each connection: it takes one and ends.
            return dials(world, entrance, lists)
        usual, _ = entrance.time(BOOTSTRAP, command, key)
        texts, ok, figures = [f"alone {seconds(usual)}"], usual is not None, {}
        for name, server, addition in lists:
            entrance.resolver(server)
            took, text = entrance.time(f"{addition},{BOOTSTRAP}", command, key)
            figures[name] = took
            ok = ok and took is not None and took <= usual + EXTRA
            texts.append(f"{name} {seconds(took)}")
        return result(", ".join(texts), ok, usual=usual, **figures)


def dials(world, entrance, lists):
    texts, times, ok = [], {}, True
    for name, server, addition in [("alone", "127.0.0.1", None), *lists]:
        entrance.resolver(server)
        listener, key = world.listen("relay", stdin=None)
        bootstrap = f"{addition},{BOOTSTRAP}" if addition else BOOTSTRAP
        client = entrance.program([world.tool, "connect", "--bootstrap", bootstrap, key])
        moment, line = client.line("connected with|^hyperswarm", 45)
        times[name] = moment - client.began if line and "connected" in line else None
        for process in (client, listener):
            process.kill()
        ok = ok and times[name] is not None and times[name] <= times["alone"] + EXTRA
        texts.append(f"{name} {seconds(times[name])}")
    return result(", ".join(texts), ok, **times)


LISTS = (("dead address", "127.0.0.1", f"{DEAD}:49737"),
         ("dead name, refused", "127.0.0.1", f"{DEAD}@dead.invalid:49737"),
         ("dead name, no answer", "192.0.2.9", f"{DEAD}@dead.invalid:49737"),
         ("name only, no answer", "192.0.2.9", "dead.invalid:49737"))
case("dead-bootstrap-lookup", f"each costs <= {EXTRA:g} s", quick=True, seconds=30)(
    lambda settings: dead_entries(settings, LISTS, "lookup"))
case("dead-bootstrap-connect", f"each costs <= {EXTRA:g} s", seconds=30)(
    lambda settings: dead_entries(settings, LISTS, "connect"))


@case("bootstrap-name-of-two-addresses", f"whichever is alive, the other costs <= {EXTRA:g} s", seconds=30)
def two_addresses(settings):
    with World(settings) as world:
        entrance = Entrance(world)
        alive = BOOTSTRAP.split(":")[0]
        entrance.resolver(None, [f"{alive} boot.test"])
        usual, text = entrance.time("boot.test:49737")
        times = []
        for pair in ((alive, DEAD), (DEAD, alive)):
            entrance.resolver(None, [f"{address} boot.test" for address in pair])
            took, text = entrance.time("boot.test:49737")
            times.append(took)
        ok = usual is not None and None not in times and max(times) <= usual + EXTRA
        return result(f"alone {seconds(usual)}, first of two {seconds(times[0])}, second {seconds(times[1])}"
                      + ("" if ok else f" ({text})"), ok, usual=usual, times=times)


@case("destroy-while-resolving", "done <= 1 s, forced or not", needs=("library",), quick=True, seconds=30)
def destroy_while_resolving(settings):
    with World(settings) as world:
        entrance = Entrance(world)
        entrance.resolver("192.0.2.9")
        times = {}
        for name, bootstrap in (("dead resolver", "a.test:1,b.test:2"), ("no name", "127.0.0.1:9")):
            for force in ("1", "0"):
                process = entrance.program([settings.library, "destroy", bootstrap, "200", force], lines_of_stdout=True)
                line = process.line("destroyed|never", 70)[1] or "never"
                found = re.search(r"destroyed ([\d.]+)", line)
                times[f"{name}{', forced' if force == '1' else ''}"] = float(found[1]) if found else None
                process.kill()
        return result(", ".join(f"{name} {seconds(value)}" for name, value in times.items()),
                      None not in times.values() and max(times.values()) <= 1, **times)


@case("interrupt-while-resolving", "ends <= 1 s", seconds=15)
def interrupt_while_resolving(settings):
    with World(settings) as world:
        entrance = Entrance(world)
        entrance.resolver("192.0.2.9")
        process = entrance.program([settings.tool, "node", "--bootstrap", "a.test:1"], lines_of_stdout=True)
        time.sleep(1)
        since = time.monotonic()
        process.send(2)
        end = process.end(30)
        return result(f"ends {seconds(end and end - since)}", end is not None and end - since <= 1)


@case("network-comes-later", "announced <= 60 s after the network is there", needs=("library",), seconds=120)
def network_comes_later(settings):
    """A member in the server's role only; the network appears 20 s after its start."""
    with World(settings, network=0) as world:
        host = world.site("s", "port").host
        world.program(host, [settings.library, "announce", BOOTSTRAP, "late"], lines_of_stdout=True)
        time.sleep(20)
        world.start_network()
        since = time.monotonic()
        while time.monotonic() - since < 90:
            process = world.start("relay", "lookup", "late", lines_of_stdout=True)
            process.end(20)
            if re.search(r"\b[0-9a-f]{64}\b.*\n?", process.text(2000)) and "0 peers" not in process.text(2000):
                after = time.monotonic() - since
                return result(f"announced {seconds(after)} after it", after <= 60, after=after)
            time.sleep(1)
        return result("not announced within 90 s", False)
