"""Traffic whose every byte is checked: numbered blocks over a pair of tools, and the meetings of swarms."""

import os
import re
import struct
import threading
import time

from .processes import LabError
from .table import result, seconds

BLOCK = 16_384
RATE = 300_000  # bytes a second and direction
SEED = "11" * 32
SILENT = 1.1  # seconds after a return in which members say nothing
AT_ONCE = 0.3  # seconds: several round trips


class Flow:
    """One direction of a connection."""

    def __init__(self, source, target, rate, is_on):
        self.source, self.target, self.rate, self.is_on = source, target, rate, is_on
        self.sent = self.received = self.wrong = 0
        self.arrivals = []
        self.rest = b""  # what has come of the block that is not complete
        threading.Thread(target=self.feed, daemon=True).start()
        threading.Thread(target=self.read, daemon=True).start()

    def feed(self):
        number, due = 0, time.monotonic()
        try:
            while self.source.alive:
                if not self.is_on:
                    time.sleep(0.01)
                    due = time.monotonic()
                    continue
                self.source.stdin.write(struct.pack(">Q", number) * (BLOCK // 8))
                self.source.stdin.flush()
                number += 1
                self.sent += BLOCK
                due = max(due + BLOCK / self.rate, time.monotonic() - 1)
                time.sleep(max(0.0, due - time.monotonic()))
        except (OSError, ValueError):
            pass

    def read(self):
        number = 0
        while True:
            data = os.read(self.target.stdout.fileno(), 65_536)
            if not data:
                return
            self.received += len(data)
            self.arrivals.append(time.monotonic())
            self.rest += data
            while len(self.rest) >= BLOCK:
                self.wrong += self.rest[:BLOCK] != struct.pack(">Q", number) * (BLOCK // 8)
                self.rest, number = self.rest[BLOCK:], number + 1

    def longest_silence(self, since):
        """Seconds between two arrivals of which the second lies after `since`."""
        times = list(self.arrivals)
        return max((b - a for a, b in zip(times, times[1:]) if b > since), default=0.0)

    def first_after(self, moment):
        return next((time for time in list(self.arrivals) if time >= moment), None)

    def moves(self, since):
        return bool(self.arrivals) and self.arrivals[-1] > since


class Link:
    """A server and a client of the tool that stream to each other."""

    def __init__(self, world, server_kind, client_kind, relay=None, traffic=True, no_punch=False, server_relay=False):
        self.world = world
        self.server_site, self.client_site = world.site("s", server_kind), world.site("c", client_kind)
        options = ["--no-punch"] if no_punch else []
        relays = ["--relay", relay] if relay else []
        self.server, self.key = world.listen(self.server_site.host, "--seed", SEED, *options,
                                             *(relays if server_relay else []), stdout=-1)
        began = time.monotonic()
        self.client = world.start(self.client_site.host, "connect", *relays, *options, self.key, stdin=-1, stdout=-1)
        moment, line = self.client.line("connected with|^hyperswarm", 60)
        if not line or "connected" not in line:
            raise LabError("not connected: " + self.client.text())
        self.seconds_to_connect = moment - began
        self.up = Flow(self.client, self.server, RATE, traffic)
        self.down = Flow(self.server, self.client, RATE, traffic)

    @property
    def flows(self):
        return [flow for flow in (self.up, self.down) if flow.is_on]

    @property
    def ends(self):
        return [self.client, self.server]

    def watch(self, since, seconds, steady=6.0):
        """Returns True when both directions have moved for some seconds after `since`, False when that did not come."""
        limit, moved_since = since + seconds, None
        while time.monotonic() < limit:
            time.sleep(0.1)
            if not any(end.alive for end in self.ends):
                return False
            now = time.monotonic()
            if self.flows and all(flow.moves(max(since, now - 1.0)) for flow in self.flows):
                moved_since = moved_since or now
                if now - moved_since >= steady:
                    return True
            else:
                moved_since = None
        return False

    def silence(self, since):
        return max(flow.longest_silence(since) for flow in (self.up, self.down))

    def wrong(self):
        return self.up.wrong + self.down.wrong

    def known_after(self, moment, seconds):
        """Seconds until each end has ended: [client, server], None for one that has not."""
        limit = moment + seconds
        moments = [end.end(max(0.0, limit - time.monotonic())) for end in self.ends]
        return [None if at is None else round(at - moment, 1) for at in moments]


def connect_until(world, host, key, since, limit, relay=None):
    """Fresh clients one after another until one gets through: seconds since `since`, or None; and the errors."""
    errors = []
    while time.monotonic() - since < limit:
        relays = ["--relay", relay] if relay else []
        client = world.start(host, "connect", *relays, key, stdin=-1)
        moment, line = client.line("connected with|^hyperswarm", 60)
        code = client.error_code()
        client.kill()
        if line and "connected with" in line:
            return moment - since, errors
        errors.append(code)
        time.sleep(0.2)
    return None, errors


class Member:
    """`hyperswarm join`: the times at which the others have come and gone."""

    def __init__(self, world, host, topic="network-lab", *arguments):
        self.process = world.start(host, "join", *arguments, topic, stdin=-1, lines_of_stdout=True)
        self.host = host

    def ready(self, timeout=40):
        line = self.process.line(r"^joined .* as [0-9a-f]{64}|^hyperswarm", timeout)[1]
        if not line or " as " not in line:
            raise LabError("not joined: " + self.process.text())
        self.key = re.search(" as ([0-9a-f]{8})", line).group(1)
        return self

    def events(self, key, since=0.0):
        """[(moment, is here)] of one peer."""
        out = []
        for moment, line in list(self.process.lines):
            found = re.match(r"\* (\w{8}) (joined|left)", line)
            if found and found.group(1) == key and moment >= since:
                out.append((moment, found.group(2) == "joined"))
        return out

    def say(self, text):
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass

    def heard(self, key, since):
        """Times at which lines of a peer came."""
        return [moment for moment, line in list(self.process.lines) if moment >= since and line.startswith(f"<{key}>")]

    def has(self, key):
        events = self.events(key)
        return bool(events) and sum(1 if here else -1 for _, here in events) > 0


def meet(members, seconds, since):
    """The moment at which every member had every other one, or None."""
    limit = time.monotonic() + seconds
    pairs = [(a, b) for a in members for b in members if a is not b]
    while time.monotonic() < limit:
        if all(a.has(b.key) for a, b in pairs):
            return max([since] + [a.events(b.key)[-1][0] for a, b in pairs])
        time.sleep(0.05)
    return None


def breaks(member, peer, since):
    """How often the member lost the peer altogether after it had got it anew."""
    count = sum(1 if here else -1 for moment, here in member.events(peer.key) if moment < since)
    lost, anew = 0, False
    for _, here in member.events(peer.key, since):
        count += 1 if here else -1
        anew = anew or here
        lost += anew and count == 0
    return lost


def moment_of(member, peer, since, spoken):
    """From when on the member has heard the peer without a change, or None if it does not now.

    A line that comes at once proves the connection from its last change on.
    """
    changes = [moment for moment, _ in member.events(peer.key, since)]
    heard = member.heard(peer.key, max([since] + changes))
    if not heard or heard[-1] < time.monotonic() - 1:
        return None
    return max([since] + changes) if heard[0] - spoken < AT_ONCE else heard[0]


def stable(members, since, seconds, silent=SILENT, quiet=6.0):
    """Seconds from `since` until lines went both ways for good, and how often the two lost each other anew.

    Both say a line four times a second: a connection that is none is not counted. For the first moments they say
    nothing, so that what is sent then is not due to them. (None, ...) if time is over.
    """
    first, second = members
    limit, said = since + seconds, 0
    time.sleep(max(0.0, since + silent - time.monotonic()))
    spoken = time.monotonic()
    while time.monotonic() < limit:
        said += 1
        for member in members:
            member.say(f"line {said}")
        time.sleep(0.25)
        moments = [moment_of(first, second, since, spoken), moment_of(second, first, since, spoken)]
        if None not in moments and time.monotonic() - max(moments) >= quiet:
            return max(moments) - since, max(breaks(first, second, since), breaks(second, first, since))
    return None, max(breaks(first, second, since), breaks(second, first, since))


def pair_of_members(world, kinds=("port", "port"), arguments=()):
    """Two members that have met: their places and they."""
    sites = [world.site("s", kinds[0]), world.site("c", kinds[1])]
    members = [Member(world, sites[0].host)]
    time.sleep(1.5)
    members.append(Member(world, sites[1].host, "network-lab", *arguments))
    for member in members:
        member.ready()
    if meet(members, 60, time.monotonic()) is None:
        raise LabError("the two never met")
    time.sleep(5)
    return sites, members


def result_of_return(members, back, limit):
    """The two are stable within the limit after `back`, and have not lost each other anew."""
    lasting, flaps = stable(members, back, 75)
    return result(f"stable {seconds(lasting)}, {flaps} flaps", lasting is not None and lasting <= limit and not flaps,
                  stable=lasting, flaps=flaps)


def survives_return(link, back, limit=3.0):
    """The stream moves both ways within the limit after `back`, and no byte is wrong."""
    if not link.watch(back, 25):
        return result(f"dies; client and server know after {link.known_after(back, 45.0)} s", False)
    after = max(flow.first_after(back) - back for flow in link.flows)
    return result(f"survives, moves {seconds(after)} after it", after <= limit and not link.wrong(), after=after)
