"""Machines and NAT boxes that change their address while connections live."""

import time

from .flows import SEED, Link, Member, connect_until, meet, stable
from .processes import flush_conntrack
from .table import case, result, seconds
from .world import World


def verdict_of(link, since, limit):
    """The live stream goes on, and both directions say so after `since`."""
    survived = link.watch(since, 40)
    if not survived:
        known = link.known_after(since, 45.0)
        return result(f"dies; client and server know after {known} s", False, known=known)
    gap = max(flow.first_after(since) - since for flow in link.flows)
    silence = link.silence(since - 0.5)
    wrong = link.wrong()
    return result(f"survives, silence {seconds(silence)}", silence <= limit and wrong == 0, silence=silence, gap=gap,
                  wrong=wrong)


def address_change(settings, server, client, side, limit, relay=False, pause=3):
    with World(settings) as world:
        key = world.start_relay()[1] if relay else None
        link = Link(world, server, client, relay=key)
        time.sleep(pause)
        site = link.client_site if side == "c" else link.server_site
        since = time.monotonic()
        world.change_address(site)
        return verdict_of(link, since, limit)


# Where the other side admits us the stream continues within a second of knowing; a NAT box's new address is known only
# by silence, so that the first retransmission comes on top.
for NAME, SERVER, CLIENT, SIDE, LIMIT, RELAY, QUICK in (
        ("move-client-host", "pub", "pub", "c", 1.5, False, True),
        ("move-server-host", "pub", "pub", "s", 1.5, False, False),
        ("move-client-nat-to-public", "pub", "port", "c", 3.0, False, True),
        ("move-client-nat", "port", "port", "c", 10.0, False, True),
        ("move-server-nat", "port", "port", "s", 10.0, False, False),
        ("move-client-nat-relay-named", "port", "port", "c", 10.0, True, False),
        ("move-relayed", "sym", "sym", "c", 10.0, True, False)):
    case(NAME, f"the stream survives without a byte lost, silence <= {LIMIT:g} s", quick=QUICK, seconds=60)(
        lambda settings, server=SERVER, client=CLIENT, side=SIDE, limit=LIMIT, relay=RELAY:
        address_change(settings, server, client, side, limit, relay))


@case("move-idle", "both ends know <= 20 s, or the stream still works", seconds=60)
def move_idle(settings):
    with World(settings) as world:
        link = Link(world, "port", "port", traffic=False)
        time.sleep(4)
        since = time.monotonic()
        world.change_address(link.client_site)
        known = link.known_after(since, 22.0)
        if None in known and all(end.alive for end in link.ends):
            link.up.is_on = link.down.is_on = True
            begin = time.monotonic()
            ok = link.watch(begin, 20)
            return result("survives" if ok else "alive, but no data", ok)
        return result(f"dies; client and server know after {known} s", None not in known and max(known) <= 20,
                      known=known)


def roaming(settings, kind, natted):
    with World(settings) as world:
        sites = [world.site("s", "port"), world.site("c", kind)]
        members = [Member(world, sites[0].host)]
        time.sleep(1.5)
        members.append(Member(world, sites[1].host))
        for member in members:
            member.ready()
        if meet(members, 60, time.monotonic()) is None:
            return result("the two never met", False)
        time.sleep(5)
        back = world.roam(sites[1], natted)
        lasting, flaps = stable(members, back, 60)
        return result(f"stable {seconds(lasting)} after the new uplink, {flaps} flaps",
                      lasting is not None and lasting <= 2 and not flaps, stable=lasting, flaps=flaps)


for NAME, KIND, NATTED in (("swarm-nat-to-nat", "port", True), ("swarm-nat-to-public", "port", False),
                           ("swarm-public-to-nat", "pub", True)):
    case(NAME, "stable <= 2 s after the new uplink, no flapping", quick=NAME == "swarm-nat-to-nat", seconds=60)(
        lambda settings, kind=KIND, natted=NATTED: roaming(settings, kind, natted))


def server_moves(settings, kind, client, change, limit):
    """Connecting by key to a server that has just moved."""
    with World(settings) as world:
        server_site, client_site = world.site("s", kind), world.site("c", client)
        key = world.listen(server_site.host, "--seed", SEED)[1]
        time.sleep(12)
        since = change(world, server_site)
        after, errors = connect_until(world, client_site.host, key, since, 60)
        text = f"connected after {seconds(after)}" + (f", before that {', '.join(errors[:3])}" if errors else "")
        return result(text, after is not None and after <= limit, after=after, errors=errors)


def new_address(world, site):
    since = time.monotonic()
    world.change_address(site)
    return since


for NAME, KIND, CLIENT, CHANGE in (
        ("server-nat-moves", "port", "port", new_address), ("server-host-moves", "pub", "port", new_address),
        ("server-random-nat-moves", "sym", "pub", new_address),
        ("server-roams-nat-to-nat", "port", "port", lambda world, site: world.roam(site, True)),
        ("server-roams-public-to-nat", "pub", "port", lambda world, site: world.roam(site, True)),
        ("server-roams-nat-to-public", "port", "port", lambda world, site: world.roam(site, False))):
    LIMIT = 10 if KIND == "sym" else 5
    case(NAME, f"a new client connects <= {LIMIT} s after the new uplink", seconds=45)(
        lambda settings, kind=KIND, client=CLIENT, change=CHANGE, limit=LIMIT:
        server_moves(settings, kind, client, change, limit))


def box_restarts(settings, server, client, side, remap, limit):
    with World(settings) as world:
        link = Link(world, server, client)
        time.sleep(3)
        site = link.client_site if side == "c" else link.server_site
        since = time.monotonic()
        if remap:
            world.nat(site.edge, "sym", site.public, "")
        flush_conntrack(world.prefix + site.edge)
        return verdict_of(link, since, limit)


for NAME, SERVER, CLIENT, SIDE, REMAP, LIMIT in (
        ("nat-forgets-client", "port", "port", "c", False, 1.0),
        ("nat-forgets-server", "port", "port", "s", False, 1.0),
        ("nat-restarts-public-server", "pub", "port", "c", True, 3.0),
        ("nat-restarts", "port", "port", "c", True, 10.0)):
    case(NAME, f"the stream survives without a byte lost, silence <= {LIMIT:g} s",
         quick=NAME == "nat-forgets-client", seconds=60)(
        lambda settings, server=SERVER, client=CLIENT, side=SIDE, remap=REMAP, limit=LIMIT:
        box_restarts(settings, server, client, side, remap, limit))


@case("nat-forgets-download", "the stream survives, silence <= 8 s: the silent reader's keep-alive opens its NAT again",
      seconds=30)
def nat_forgets_download(settings):
    with World(settings) as world:
        link = Link(world, "port", "port")
        link.up.is_on = False
        time.sleep(3)
        since = time.monotonic()
        flush_conntrack(world.prefix + link.client_site.edge)
        return verdict_of(link, since, 8.0)


@case("nat-restarts-swarm", "stable <= 10 s: a random NAT is punched (no time is promised)", seconds=60)
def nat_restarts_swarm(settings):
    with World(settings) as world:
        sites = [world.site("s", "port"), world.site("c", "port")]
        members = [Member(world, site.host) for site in sites]
        for member in members:
            member.ready()
        if meet(members, 60, time.monotonic()) is None:
            return result("the two never met", False)
        time.sleep(5)
        back = time.monotonic()
        world.nat(sites[1].edge, "sym", sites[1].public, "")
        flush_conntrack(world.prefix + sites[1].edge)
        lasting, flaps = stable(members, back, 75)
        return result(f"stable after {seconds(lasting)}, {flaps} flaps", lasting is not None and lasting <= 10,
                      stable=lasting, flaps=flaps)


@case("idle-60-short-mappings", "alive after 60 s without data, the first block arrives <= 1 s", seconds=80)
def idle_short(settings):
    with World(settings) as world:
        link = Link(world, "short", "short", traffic=False)
        time.sleep(60)
        if not all(end.alive for end in link.ends):
            return result("dead after 60 s idle", False)
        since = time.monotonic()
        link.down.is_on = True
        time.sleep(3)
        link.up.is_on = True
        moved = link.watch(since + 3, 15)
        first = link.down.first_after(since)
        ok = moved and first is not None and first - since <= 1
        return result(f"keep-alive holds, first block {seconds(first and first - since)}" if moved else "no data",
                      ok, first=first and first - since)
