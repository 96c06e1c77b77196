"""Members that join at the same moment, nodes that wrongly take themselves for reachable, lossy paths."""

import re
import time

from . import rules
from .exchange import exchange
from .flows import Member, meet
from .table import case, percentile, result, seconds
from .world import World


def join_together(settings, kinds, apart=0.0):
    """All start within the same tenth of a second, or each `apart` seconds after the one before."""
    with World(settings) as world:
        hosts = [world.site("s" if number % 2 else "c", kind).host for number, kind in enumerate(kinds)]
        begin, members = time.monotonic(), []
        for host in hosts:
            members.append(Member(world, host))
            time.sleep(apart)
        for member in members:
            member.ready()
        # The limit counts from the last member's entry: a tool's start is not the swarm's.
        ready = max(member.process.line("^joined", 1)[0] for member in members)
        met = meet(members, 60, begin)
        after = met and max(0.0, met - ready)
        pairs = sum(a.has(b.key) for a in members for b in members if a is not b)
        return result(f"all know each other {seconds(after)} after the last has joined"
                      + ("" if met else f" ({pairs} of {len(members) * (len(members) - 1)} pairs)"),
                      after is not None and after <= 10, after=after, since_start=met and met - begin)


for NAME, KINDS in (("join-2-together", ("port", "addr")), ("join-3-together", ("port", "addr", "pub")),
                    ("join-4-together", ("port", "addr", "pub", "full"))):
    case(NAME, "all know each other <= 10 s", quick=NAME == "join-3-together", seconds=40)(
        lambda settings, kinds=KINDS: join_together(settings, kinds))


@case("join-50-together", "all 1,225 pairs <= 10 s after the last has joined", seconds=100)
def join_fifty(settings):
    """On one host, so that the network costs nothing: their work on two processors is what takes time."""
    with World(settings, distance=1) as world:
        host = world.site("s", "pub").host
        members = [Member(world, host) for _ in range(50)]
        for member in members:
            member.ready(60)
        ready = max(member.process.line("^joined", 1)[0] for member in members)
        met = meet(members, 60, ready)
        pairs = sum(a.has(b.key) for a in members for b in members if a is not b) // 2
        return result(f"{pairs} of 1225 pairs, the last {seconds(met and met - ready)} after the last has joined",
                      met is not None and met - ready <= 10, pairs=pairs, after=met and met - ready)


for APART in (0.5, 1.5, 4):
    case(f"join-2-apart-{APART:g}", "the two know each other <= 10 s", seconds=30)(
        lambda settings, apart=APART: join_together(settings, ("port", "port"), apart))


def false_open(settings, server, client, relay=False, host_firewall=""):
    """A host behind a box that lets every port of contacted addresses in believes that it is reachable."""
    with World(settings) as world:
        server_site, client_site = world.site("s", server), world.site("c", client)
        for side, site in (("s", server_site), ("c", client_site)):
            if side in host_firewall:
                world.nft(site.host, rules.FIREWALL_BY_HOST)
        options = ["--relay", world.start_relay()[1]] if relay else []
        outcome = exchange(world, server_site.host, client_site.host, size=50_000, client_options=options)
        return result(str(outcome), outcome.exact and outcome.complete <= 3, connected=outcome.connected,
                      complete=outcome.complete)


for NAME, SERVER, CLIENT, RELAY, FIREWALLS, QUICK in (
        ("false-open-client", "port", "host", False, "", True),
        ("false-open-client-relay", "port", "host", True, "", False),
        ("false-open-client-firewall", "port", "pub", False, "c", False),
        ("false-open-server", "host", "port", False, "", True),
        ("false-open-server-firewall", "pub", "port", False, "s", False),
        ("false-open-server-to-public", "host", "pub", False, "", False),
        ("false-open-both", "host", "host", False, "", False),
        ("false-open-random-relay", "sym", "host", True, "", False)):
    case(NAME, "data both ways <= 3 s", quick=QUICK, seconds=20)(
        lambda settings, server=SERVER, client=CLIENT, relay=RELAY, firewalls=FIREWALLS:
        false_open(settings, server, client, relay, firewalls))


def lossy(settings, percent, runs):
    with World(settings) as world:
        world.loss(percent)
        outcomes = []
        for server, client in (("pub", "port"), ("port", "port"), ("port", "sym"), ("sym", "port")):
            for _ in range(runs):
                outcomes.append(exchange(world, world.site("s", server).host, world.site("c", client).host,
                                         size=100_000, limit=60))
        exact = sum(outcome.exact for outcome in outcomes)
        times = [outcome.connected for outcome in outcomes]
        codes = sorted({outcome.code for outcome in outcomes if not outcome.exact})
        return result(f"{exact} of {len(outcomes)}, p50 {seconds(percentile(times, 0.5))}, "
                      f"max {seconds(percentile(times, 1))} {' '.join(codes)}".strip(),
                      exact == len(outcomes), times=times)


for PERCENT in (1, 5):
    case(f"loss-{PERCENT}", "all connect, byte-exact", seconds=75)(
        lambda settings, percent=PERCENT: lossy(settings, percent, 3))


def small_network(settings, size):
    """Too few nodes to test a NAT or to relay a punch have to say so, or connect."""
    with World(settings, network=size) as world:
        outcome = exchange(world, world.site("s", "port").host, world.site("c", "port").host, size=50_000)
        named = re.fullmatch(r"[A-Z]+(_[A-Z]+)+", outcome.code) or "no bootstrap node answered" in outcome.code
        return result(str(outcome), outcome.exact or (named and outcome.ended <= 10), connected=outcome.connected)


for SIZE in (1, 2, 3):
    case(f"network-of-{SIZE}", "connected, byte-exact, or an error with a code <= 10 s", seconds=20)(
        lambda settings, size=SIZE: small_network(settings, size))


def pair(settings, server, client, relay=False):
    with World(settings) as world:
        options = ["--relay", world.start_relay()[1]] if relay else []
        outcome = exchange(world, world.site("s", server).host, world.site("c", client).host, size=1_000_000,
                           client_options=options, wait_for_end=True)
        return result(f"{outcome}, exit codes {outcome.exits}", outcome.exact and outcome.exits == (0, 0),
                      connected=outcome.connected)


for SERVER, CLIENT, RELAY in (("port", "port", False), ("full", "pubfw", False), ("cgnat", "addr", False),
                              ("port", "sym", False), ("sym", "port", False), ("sym", "sym", True)):
    case(f"pair-{SERVER}-{CLIENT}" + ("-relay" if RELAY else ""), "connected, byte-exact, both exit 0", seconds=25)(
        lambda settings, server=SERVER, client=CLIENT, relay=RELAY: pair(settings, server, client, relay))
