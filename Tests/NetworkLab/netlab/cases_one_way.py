"""Outages that are not whole: one direction only, packets that are refused with an error, outages in the midst of a
dial or of the move from a relay to a direct path."""

import signal
import time

from . import rules
from .cases_ends import known
from .flows import SEED, Link, Member, meet, pair_of_members, result_of_return, survives_return
from .table import case, result, seconds
from .world import World

KNOWN = "both ends know <= 20 s"
RETURN = "stable <= 3 s after the return, no flapping"


def one_way(settings, direction, traffic):
    with World(settings) as world:
        link = Link(world, "port", "port", traffic=traffic)
        time.sleep(3)
        since = time.monotonic()
        world.nft(link.client_site.host, rules.one_way(direction, "drop"))
        return known(link, since, 20.0, link.ends)


def one_way_swarm(settings, direction, verdict, length):
    with World(settings) as world:
        sites, members = pair_of_members(world)
        world.nft(sites[1].host, rules.one_way(direction, verdict))
        time.sleep(length)
        world.remove_table(sites[1].host, "oneway")
        return result_of_return(members, time.monotonic(), 3)


for DIRECTION in ("in", "out"):
    for TRAFFIC in (True, False):
        case(f"one-way-{DIRECTION}-{'transfer' if TRAFFIC else 'idle'}", KNOWN, seconds=30)(
            lambda settings, direction=DIRECTION, traffic=TRAFFIC: one_way(settings, direction, traffic))
    case(f"one-way-{DIRECTION}-18-swarm", RETURN, seconds=60)(
        lambda settings, direction=DIRECTION: one_way_swarm(settings, direction, "drop", 18))
case("refused-40-swarm", RETURN + " (sending fails with an error)", seconds=80)(
    lambda settings: one_way_swarm(settings, "out", "reject", 40))


def refused(settings, place):
    """The host's own system refuses to send, or a router answers with ICMP errors."""
    with World(settings) as world:
        link = Link(world, "port", "port")
        time.sleep(3)
        name = link.client_site.host if place == "host" else link.client_site.edge
        world.nft(name, rules.one_way("out" if place == "host" else "through", "reject"))
        time.sleep(5)
        world.remove_table(name, "oneway")
        return survives_return(link, time.monotonic())


for PLACE in ("host", "router"):
    case(f"refused-5-transfer-{PLACE}", "survives, moves <= 3 s after it", seconds=30)(
        lambda settings, place=PLACE: refused(settings, place))


def outage_in_dial(settings, delay):
    """The uplink goes away while the second member looks the first one up and dials."""
    with World(settings) as world:
        sites = [world.site("s", "port"), world.site("c", "port")]
        members = [Member(world, sites[0].host).ready()]
        time.sleep(2)
        members.append(Member(world, sites[1].host))
        time.sleep(delay)
        world.uplink(sites[1], False)
        time.sleep(5)
        world.uplink(sites[1], True)
        back = time.monotonic()
        members[1].ready(60)
        if meet(members, 60, back) is None:
            return result("the two never met", False)
        return result_of_return(members, back, 5)


for DELAY in (0.35, 0.65):
    case(f"outage-in-dial-{DELAY:g}", "stable <= 5 s after the return: the dial begins anew", seconds=50)(
        lambda settings, delay=DELAY: outage_in_dial(settings, delay))


@case("outage-in-upgrade", "survives, moves <= 3 s after the return", seconds=30)
def outage_in_upgrade(settings):
    """The connection runs over a relay and is about to get a direct path."""
    with World(settings) as world:
        link = Link(world, "port", "sym", relay=world.start_relay()[1])
        time.sleep(0.3)
        world.swallow(link.client_site, True)
        time.sleep(5)
        world.swallow(link.client_site, False)
        return survives_return(link, time.monotonic())


def relay_dies_in_dial(settings, server, client):
    with World(settings) as world:
        relay, relay_key = world.start_relay()
        key = world.listen(world.site("s", server).host, "--seed", SEED, "--relay", relay_key)[1]
        time.sleep(3)
        client = world.start(world.site("c", client).host, "connect", "--relay", relay_key, key, stdin=-1)
        time.sleep(0.5)
        relay.send(signal.SIGKILL)
        moment, line = client.line("connected with|^hyperswarm", 60)
        took = moment - client.began
        is_connected = line is not None and "connected" in line
        if server == "sym":
            # Nothing but the relay connects the two: an error then, or soon after.
            end = client.end(25)
            took = (end or time.monotonic()) - client.began
            return result(f"{client.error_code()} after {seconds(took)}", end is not None and took <= 21)
        time.sleep(22)
        return result(f"connected after {seconds(took)}{'' if client.alive else ', then ' + client.error_code()}",
                      is_connected and client.alive)


case("relay-dies-in-dial", "a pair that can do without it connects and stays", seconds=40)(
    lambda settings: relay_dies_in_dial(settings, "port", "sym"))
case("relay-dies-in-dial-needed", "an error with a code <= 21 s", seconds=40)(
    lambda settings: relay_dies_in_dial(settings, "sym", "sym"))
