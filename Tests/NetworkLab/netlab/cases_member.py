"""Calls of the library in the midst of outages: suspend, resume, flush, destroy. The program is member.c."""

import re
import time

from . import rules
from .processes import LabError
from .table import case, result, seconds
from .world import BOOTSTRAP, World

NEEDS = ("member",)
TOPIC = "lab"


class Swarms:
    """A process that does what it is told with swarms that have numbers."""

    def __init__(self, world, host, *commands):
        self.process = world.program(host, [world.settings.member, BOOTSTRAP], stdin=-1, lines_of_stdout=True)
        self.do(*commands)

    def do(self, *commands):
        """All in one turn of the loop. The moment before it."""
        moment = time.monotonic()
        self.process.stdin.write(";".join(commands).encode() + b"\n")
        self.process.stdin.flush()
        return moment

    def name(self, number=0):
        return self.process.line(f"^{number} key", 10)[1].split()[2][:8]

    def after(self, pattern, since, wait=30):
        """(seconds, line) of the first line since then that matches, or (None, "")."""
        limit = time.monotonic() + wait
        while True:
            for moment, line in list(self.process.lines):
                if moment >= since and re.search(pattern, line):
                    return moment - since, line
            if time.monotonic() >= limit:
                return None, ""
            time.sleep(0.02)

    def call(self, command, wait=30, number=0):
        """(seconds until its completion, the status)."""
        since = self.do(f"{number} {command}")
        took, line = self.after(f"^{number} {command.split()[0]} ", since, wait)
        return took, line.split()[-1] if line else "never"

    def count(self, number, name):
        lines = [line for _, line in list(self.process.lines)]
        return (sum(line.startswith(f"{number} open {name}") for line in lines)
                - sum(line.startswith(f"{number} closed {name}") for line in lines))


def two_swarms(world):
    sites = [world.site("s", "port"), world.site("c", "port")]
    swarms = [Swarms(world, site.host, "0 create", f"0 join {TOPIC}") for site in sites]
    names = [swarm.name() for swarm in swarms]
    if talk(swarms, names, time.monotonic()) is None:
        raise LabError("the two never met")
    time.sleep(3)
    return sites, swarms, names


def talk(swarms, names, since, limit=40):
    """Seconds until lines came both ways; both say one five times a second."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        for swarm in swarms:
            swarm.do("0 say line")
        heard = [swarm.after(rf"^0 <{names[1 - number]}>", since, 0)[0] for number, swarm in enumerate(swarms)]
        if None not in heard:
            return max(heard)
        time.sleep(0.2)
    return None


def down(world, site):
    world.uplink(site, False, at_host=True)


def up(world, site):
    world.uplink(site, True, at_host=True)


# What happens to the second member's host, and how it ends.
FAULTS = {
    "cable": (down, up),
    "one-way": (lambda world, site: world.nft(site.host, rules.one_way("in", "drop")),
                lambda world, site: world.remove_table(site.host, "oneway")),
    "refused": (lambda world, site: world.nft(site.host, rules.one_way("out", "reject")),
                lambda world, site: world.remove_table(site.host, "oneway")),
}


def suspended(settings, fault, length):
    """Suspended and resumed in the midst of it."""
    with World(settings) as world:
        sites, swarms, names = two_swarms(world)
        begin, end = FAULTS[fault]
        begin(world, sites[1])
        time.sleep(length)
        calls = [swarms[1].call("suspend"), swarms[1].call("resume")]
        time.sleep(3)
        calls.append(swarms[1].call("flush"))
        end(world, sites[1])
        after = talk(swarms, names, time.monotonic())
        text = ", ".join(f"{name} {status} {seconds(took)}"
                         for name, (took, status) in zip(("suspend", "resume", "flush"), calls))
        ok = None not in [took for took, _ in calls] and after is not None
        return result(f"{text}; they talk {seconds(after)} after it",
                      ok and calls[0][0] <= 1.6 and calls[1][0] <= 1 and calls[2][1] != "OK" and after <= 3)


def destroyed(settings, fault, length, command, limit):
    with World(settings) as world:
        sites, swarms, names = two_swarms(world)
        FAULTS[fault][0](world, sites[1])
        begin = time.monotonic()
        time.sleep(length)
        since = swarms[1].do("0 flush", "0 join other", f"0 {command}")
        took = swarms[1].after(f"^0 {command} OK", since)[0]
        settled = all(swarms[1].after(f"^0 {name} ", since, 1)[0] is not None for name in ("flush", "join"))
        swarms[1].process.stdin.close()
        swarms[1].process.end(5)
        told = swarms[0].after(f"^0 closed {names[1]}", begin)[0]
        ok = took is not None and took <= limit and settled and told is not None and told <= 20
        return result(f"done {seconds(took)}, the other one knows {seconds(told)} after the beginning",
                      ok and "ended, 0 handles" in swarms[1].process.text(), took=took)


for FAULT in FAULTS:
    for LENGTH in (1, 25):
        case(f"suspend-in-{FAULT}-{LENGTH}", "suspend <= 1.6 s, flush does not say yes; they talk <= 3 s after it",
             needs=NEEDS, seconds=LENGTH + 40)(
            lambda settings, fault=FAULT, length=LENGTH: suspended(settings, fault, length))
    # Withdrawing may take a second: what is above that is a busy machine.
    for COMMAND, LIMIT in (("destroy", 1.6), ("force", 0.6)):
        case(f"{COMMAND}-in-{FAULT}", f"done <= {LIMIT:g} s, all calls end, no handle is left", needs=NEEDS,
             seconds=30)(
            lambda settings, fault=FAULT, command=COMMAND, limit=LIMIT: destroyed(settings, fault, 1, command, limit))


def three(settings, command):
    """Three join in one turn, and one of them is gone in the same turn."""
    with World(settings) as world:
        swarms = Swarms(world, world.site("s", "port").host,
                        *(f"{number} create" for number in range(3)),
                        *(f"{number} join {TOPIC}" for number in range(3)), f"2 {command}")
        begin = time.monotonic()
        names = [swarms.name(number) for number in range(3)]
        both = [swarms.after(f"^{number} open {names[1 - number]}", begin - 1, 10)[0] for number in (0, 1)]
        left = swarms.after(f"^2 {command.split()[0]} ", begin - 1, 10)[0]
        time.sleep(3)
        phantoms = sum(swarms.count(number, names[2]) for number in (0, 1))
        ok = None not in both and left is not None and phantoms == 0
        return result(f"the others met {seconds(max(both) - 1 if None not in both else None)}, {phantoms} phantoms", ok)


for COMMAND in (f"leave {TOPIC}", "destroy", "force", "suspend"):
    case(f"join-3-one-{COMMAND.split()[0]}", "the other two know each other <= 10 s, and nothing of the third",
         needs=NEEDS, seconds=25)(lambda settings, command=COMMAND: three(settings, command))


def starts_without(settings, what):
    """A member begins on a host without a network, which comes after 20 s."""
    with World(settings) as world:
        sites = [world.site("s", "port"), world.site("c", "port")]
        first = Swarms(world, sites[0].host, "0 create", f"0 join {TOPIC}")
        site = sites[1]
        world.ip(site.host, {"link": "link set eth0 down", "route": "route del default",
                             "address": "addr flush dev eth0"}[what])
        second = Swarms(world, site.host, "0 create", f"0 join {TOPIC}")
        names = [first.name(), second.name()]
        time.sleep(20)
        back = time.monotonic()
        if what == "link":
            world.ip(site.host, "link set eth0 up")
        elif what == "address":
            world.ip(site.host, f"addr add {site.inner_address}/24 dev eth0")
        world.ip(site.host, f"route replace default via {site.inner_gateway}")
        after = talk([first, second], names, back)
        return result(f"they talk {seconds(after)} after it", after is not None and after <= 5)


for WHAT in ("link", "route", "address"):
    case(f"starts-without-{WHAT}", "they talk <= 5 s after it has come", needs=NEEDS, seconds=45)(
        lambda settings, what=WHAT: starts_without(settings, what))


@case("resume-without-descriptors", "resume says BIND_FAILED; they talk <= 12 s after there are some", needs=NEEDS,
      seconds=40)
def resume_without_descriptors(settings):
    with World(settings) as world:
        swarms, names = two_swarms(world)[1:]
        swarms[1].call("suspend")
        world.limit_descriptors(swarms[1].process, 3)
        status = swarms[1].call("resume")[1]
        time.sleep(6)
        world.limit_descriptors(swarms[1].process, 1000)
        after = talk(swarms, names, time.monotonic())
        return result(f"resume {status}, they talk {seconds(after)} after it",
                      "BIND_FAILED" in status and after is not None and after <= 12)
