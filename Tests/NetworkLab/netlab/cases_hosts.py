"""What systems do to their interfaces, addresses and routes while connections live."""

import os
import time

from .flows import Link, pair_of_members, result_of_return, survives_return
from .table import case, result, seconds
from .world import World


def gateway(site):
    return site.inner_gateway if site.nats else site.gateway


def address(site):
    return site.inner_address if site.nats else site.public


def flaps(world, site):
    for _ in range(5):
        world.ip(site.host, "route del default")
        time.sleep(0.3)
        world.ip(site.host, f"route add default via {gateway(site)}")
        time.sleep(0.3)


def again(world, site):
    world.ip(site.host, f"addr del {address(site)}/24 dev eth0")
    time.sleep(1)
    world.ip(site.host, f"addr add {address(site)}/24 dev eth0")
    world.ip(site.host, f"route replace default via {gateway(site)}")


def rename(world, site):
    world.ip(site.host, "link set eth0 down")
    world.ip(site.host, "link set eth0 name wan0")
    world.ip(site.host, "link set wan0 up")
    world.ip(site.host, f"route replace default via {gateway(site)}")


def ipv6(world, site):
    for number in (7, 8):
        world.ip(site.host, f"addr add 2001:db8:{number}::2/64 dev eth0 nodad")
        time.sleep(1)
        world.ip(site.host, f"addr del 2001:db8:{number}::2/64 dev eth0")


def link_local(world, site):
    """DHCP fails for a while."""
    world.ip(site.host, f"addr del {address(site)}/24 dev eth0")
    world.ip(site.host, "addr add 169.254.9.9/16 dev eth0")
    time.sleep(8)
    world.ip(site.host, "addr del 169.254.9.9/16 dev eth0")
    world.ip(site.host, f"addr add {address(site)}/24 dev eth0")
    world.ip(site.host, f"route replace default via {gateway(site)}")


def refusing_route(kind):
    """Sending fails with EACCES, EHOSTUNREACH or EINVAL."""
    def change(world, site):
        world.ip(site.host, "route del default")
        world.ip(site.host, f"route add {kind} default")
        time.sleep(5)
        world.ip(site.host, f"route del {kind} default")
        world.ip(site.host, f"route add default via {gateway(site)}")
    return change


EVENTS = {"route-flaps": flaps, "address-again": again, "interface-renamed": rename, "ipv6-beside": ipv6,
          "link-local-8": link_local,
          **{f"route-{kind}-5": refusing_route(kind) for kind in ("prohibit", "unreachable", "blackhole")}}


def event(settings, change):
    with World(settings) as world:
        link = Link(world, "port", "port")
        time.sleep(3)
        change(world, link.client_site)
        return survives_return(link, time.monotonic())


for NAME, CHANGE in EVENTS.items():
    case(f"host-{NAME}", "the stream survives without a byte lost, moves <= 3 s after it", seconds=30)(
        lambda settings, change=CHANGE: event(settings, change))


def judged(link, since, limit):
    survived = link.watch(since, 30)
    silence = link.silence(since - 0.5)
    return silence if survived and silence <= limit and not link.wrong() else None


def both_ways(link, limit, there, back):
    """Two changes, one after the other: each may cost so many seconds of silence."""
    silences = []
    for change in (there, back):
        since = time.monotonic()
        change()
        silences.append(judged(link, since, limit))
        if silences[-1] is None:
            break
    return result(", back ".join(f"silence {seconds(value)}" if value is not None else "too long or dead"
                                 for value in silences), None not in silences, silences=silences)


@case("two-uplinks", "the cable of the better one goes and comes: silence <= 1.5 s each", seconds=45)
def two_uplinks(settings):
    with World(settings) as world:
        link = Link(world, "pub", "pub")
        site = link.client_site
        world.second_uplink(site)
        world.ip(site.host, "route add default via 62.77.0.1 dev eth1 metric 200")
        time.sleep(4)

        def back():
            world.ip(site.host, "link set eth0 up")
            world.ip(site.host, f"route replace default via {site.gateway}")
        return both_ways(link, 1.5, lambda: world.ip(site.host, "link set eth0 down"), back)


def vpn(settings, mtu, ending):
    """A tunnel takes all traffic, and leaves its address behind on an interface that is down, or only its routes go."""
    with World(settings) as world:
        link = Link(world, "pub", "pub")
        site = link.client_site
        time.sleep(4)

        def there():
            world.second_uplink(site, mtu)
            for half in ("0.0.0.0/1", "128.0.0.0/1"):
                world.ip(site.host, f"route add {half} via 62.77.0.1 dev eth1")

        def back():
            if ending == "link":
                return world.ip(site.host, "link set eth1 down")
            if ending == "device":
                return world.ip(site.host, "link del eth1")
            for half in ("0.0.0.0/1", "128.0.0.0/1"):
                world.ip(site.host, f"route del {half}")
        return both_ways(link, 1.5, there, back)


for MTU, ENDING in ((1500, "link"), (1280, "link"), (1500, "routes"), (1500, "device")):
    case(f"vpn-{MTU}-{ENDING}", "comes and goes: silence <= 1.5 s each", seconds=45)(
        lambda settings, mtu=MTU, ending=ENDING: vpn(settings, mtu, ending))


@case("source-address-changes", "the preferred source address is another one: silence <= 1.5 s", seconds=40)
def source_address(settings):
    with World(settings) as world:
        link = Link(world, "pub", "pub")
        site = link.client_site
        other = site.public[:-1] + "9"
        world.ip(site.host, f"addr add {other}/24 dev eth0")
        time.sleep(4)
        since = time.monotonic()
        world.ip(site.host, f"route replace default via {site.gateway} src {other}")
        silence = judged(link, since, 1.5)
        return result(f"silence {seconds(silence)}" if silence is not None else "too long or dead",
                      silence is not None)


@case("descriptors-run-out", "a member that roams without a free descriptor is stable <= 10 s: it cannot punch wide",
      seconds=60)
def descriptors(settings):
    with World(settings) as world:
        sites, members = pair_of_members(world)
        pid = members[1].process.pid
        highest = max(int(number) for number in os.listdir(f"/proc/{pid}/fd")) + 1
        world.limit_descriptors(members[1].process, highest)
        return result_of_return(members, world.roam(sites[1], True), 10)
