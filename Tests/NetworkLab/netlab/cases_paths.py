"""Paths that carry less than 1,500 bytes."""

import time

from . import rules
from .exchange import exchange
from .flows import Link
from .table import case, result, seconds
from .world import World

SIZE = 1 << 20
LIMIT = 20.0  # seconds for each direction: a black hole is noticed by retransmissions only


def small_path(settings, mtu, place, is_silent):
    """The client's own link ("link") is small, or the one behind its router ("middle"), which says so or is silent."""
    with World(settings) as world:
        server, client = world.site("s", "pub"), world.site("c", "pub" if place == "link" else "port")
        world.ip(client.edge, f"link set eth0 mtu {mtu}")
        world.ip("core", f"link set {client.core_link} mtu {mtu}")
        if is_silent:
            for name in (client.edge, "core"):
                world.nft(name, rules.NO_ICMP)
        texts, ok, figures = [], True, {}
        for name, up, down in (("down", 0, SIZE), ("up", SIZE, 0)):
            outcome = exchange(world, server.host, client.host, size=up, down=down, limit=45)
            figures[name] = outcome.complete
            ok = ok and outcome.exact and outcome.complete <= LIMIT
            texts.append(f"{name}: {outcome}")
        return result("; ".join(texts), ok, **figures)


for MTU in (1500, 1228, 1200, 1199, 1150, 1100, 576):
    case(f"mtu-{MTU}-link", f"1 MiB each way, each <= {LIMIT:g} s", quick=MTU == 1100, seconds=60)(
        lambda settings, mtu=MTU: small_path(settings, mtu, "link", False))
for MTU in (1100, 576):
    case(f"mtu-{MTU}-middle", f"1 MiB each way, each <= {LIMIT:g} s", seconds=80)(
        lambda settings, mtu=MTU: small_path(settings, mtu, "middle", False))
    case(f"mtu-{MTU}-black-hole", f"1 MiB each way, each <= {LIMIT:g} s", seconds=80)(
        lambda settings, mtu=MTU: small_path(settings, mtu, "middle", True))


@case("mtu-shrinks-in-transfer", "the stream survives without a byte lost, silence <= 10 s", seconds=50)
def shrinks(settings):
    with World(settings) as world:
        link = Link(world, "pub", "port")
        time.sleep(6)
        since = time.monotonic()
        for name, device in ((link.client_site.edge, "eth0"), ("core", link.client_site.core_link)):
            world.nft(name, rules.NO_ICMP)
            world.ip(name, f"link set {device} mtu 1100")
        survived = link.watch(since, 30)
        silence = link.silence(since - 0.5)
        return result(f"survives, silence {seconds(silence)}" if survived else
                      f"dies: {link.client.error_code()}", survived and silence <= 10 and not link.wrong(),
                      silence=silence)
