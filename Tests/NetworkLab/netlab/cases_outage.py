"""The uplink goes away and comes back: in mid-transfer, and under a swarm of two that says nothing."""

import time

from .flows import Link, Member, meet, stable
from .table import case, percentile, repeat, result, seconds
from .world import World

KNOWN_WITHIN = 20.0  # seconds: the longest time in which an end may believe in a dead peer
GIVE_UP = 12  # an outage of this many seconds lies at the edge of what the protocol's retransmissions bridge


def transfer(settings, length):
    with World(settings) as world:
        link = Link(world, "port", "port")
        time.sleep(3)
        begin = time.monotonic()
        world.swallow(link.client_site, True)
        time.sleep(length)
        world.swallow(link.client_site, False)
        back = time.monotonic()
        if link.watch(back, max(10.0, KNOWN_WITHIN - length + 5)):
            gap = max(flow.first_after(back) - back for flow in link.flows)
            silence, wrong = link.silence(begin - 1), link.wrong()
            ok = wrong == 0 and gap <= 3.0
            return result(f"survives, silence {seconds(silence)}, {seconds(gap)} after the return", ok,
                          after_return=gap, silence=silence, wrong=wrong)
        known = link.known_after(begin, 30.0 + length)
        ok = length >= GIVE_UP and link.wrong() == 0 and None not in known and max(known) <= KNOWN_WITHIN
        codes = [end.error_code() for end in link.ends]
        return result(f"dies; client and server know after {known} s ({', '.join(codes)})", ok, known=known)


for LENGTH in (3, 5, 6, 9, 12, 15, 40, 120):
    case(f"outage-{LENGTH}-transfer",
         "survives, moves <= 3 s after the return" if LENGTH < GIVE_UP else
         "survives, or both ends know <= 20 s after the beginning",
         quick=LENGTH in (5, 15), seconds=LENGTH + 30)(lambda settings, length=LENGTH: transfer(settings, length))


def outage_of_swarm(settings, length, side, at_host):
    """(seconds to the first datagram, seconds until stable, flaps) after the return of one member's uplink."""
    with World(settings) as world:
        sites = [world.site("s", "port"), world.site("c", "port")]
        members = [Member(world, sites[0].host)]
        time.sleep(1.5)
        members.append(Member(world, sites[1].host))
        for member in members:
            member.ready()
        if meet(members, 60, time.monotonic()) is None:
            return None
        time.sleep(6)
        site = sites[side]
        name = site.host if at_host else site.edge
        capture = world.capture(name)
        world.uplink(site, False, at_host)
        time.sleep(length)
        world.uplink(site, True, at_host)
        back = time.monotonic()
        lasting, flaps = stable(members, back, 75)
        first = capture.first_after(back)
        return first and first - back, lasting, flaps


def returns(settings, length, at_host=False):
    runs = repeat(settings, lambda number: outage_of_swarm(settings, length, number % 2, at_host))
    met = [run for run in runs if run is not None]
    if not met:
        return result("the two never met", False)
    first = percentile([run[0] for run in met], 0.95)
    lasting = percentile([run[1] for run in met], 0.95)
    flaps = max(run[2] for run in met)
    ok = None not in (first, lasting) and first <= 1 and lasting <= 3 and not flaps and len(met) == len(runs)
    many = f" (p95 of {len(runs)})" if len(runs) > 1 else ""
    return result(f"first datagram {seconds(first)}, stable {seconds(lasting)}, {flaps} flaps{many}", ok, runs=runs)


CRITERION = "first datagram <= 1 s, stable <= 3 s after the return, no flapping"
for LENGTH in (3, 5, 6, 9, 12, 15, 40, 120):
    case(f"outage-{LENGTH}-swarm", CRITERION, quick=LENGTH in (15, 40), seconds=LENGTH + 40)(
        lambda settings, length=LENGTH: returns(settings, length))
for LENGTH in (15, 40):
    case(f"outage-{LENGTH}-swarm-cable", CRITERION + " (the host's own link)", seconds=LENGTH + 40)(
        lambda settings, length=LENGTH: returns(settings, length, at_host=True))
