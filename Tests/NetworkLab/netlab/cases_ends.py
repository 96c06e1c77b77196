"""Processes that are killed, stopped, interrupted or restarted, and relays that die."""

import signal
import subprocess
import time

from .flows import SEED, Link, connect_until
from .table import case, result, seconds
from .world import World


def known(link, since, limit, ends, wait=60.0):
    """All the given ends have to end within the limit."""
    moments = [end.end(max(0.0, since + wait - time.monotonic())) for end in ends]
    after = [None if moment is None else moment - since for moment in moments]
    ok = None not in after and max(after) <= limit
    codes = ", ".join(end.error_code() for end in ends)
    return result(f"known after {' and '.join(seconds(value) for value in after)} ({codes})", ok, after=after)


def relay_dies(settings, number, limit):
    with World(settings) as world:
        relay, key = world.start_relay()
        link = Link(world, "sym", "sym", relay=key)
        time.sleep(4)
        since = time.monotonic()
        relay.send(number)
        return known(link, since, limit, link.ends)


case("relay-killed", "both ends know <= 20 s", seconds=40)(
    lambda settings: relay_dies(settings, signal.SIGKILL, 20.0))
case("relay-terminated", "both ends know <= 6 s: a direct path has 5 s to come", quick=True, seconds=20)(
    lambda settings: relay_dies(settings, signal.SIGTERM, 6.0))


def restarted(settings, server, pause):
    with World(settings) as world:
        server_site, client_site = world.site("s", server), world.site("c", "port")
        process, key = world.listen(server_site.host, "--seed", SEED)
        time.sleep(5)
        process.kill()
        since = time.monotonic()
        time.sleep(pause)
        world.start(server_site.host, "listen", "--seed", SEED, stdin=subprocess.PIPE)
        after, errors = connect_until(world, client_site.host, key, since, 60)
        after = after and after - pause
        text = f"connected {seconds(after)} after the restart" + (f" ({', '.join(errors[:2])})" if errors else "")
        return result(text, after is not None and after <= 3, after=after, errors=errors)


for NAME, SERVER, PAUSE in (("server-restarts", "port", 0), ("server-restarts-public", "pub", 0),
                            ("server-restarts-late", "port", 5)):
    case(NAME, "a new client connects <= 3 s after the restart", quick=NAME == "server-restarts", seconds=25)(
        lambda settings, server=SERVER, pause=PAUSE: restarted(settings, server, pause))


@case("server-dead-dial", "an error with a code <= 10 s", seconds=25)
def dead_server(settings):
    with World(settings) as world:
        server_site, client_site = world.site("s", "port"), world.site("c", "port")
        process, key = world.listen(server_site.host, "--seed", SEED)
        time.sleep(3)
        process.kill()
        begin = time.monotonic()
        client = world.start(client_site.host, "connect", key, stdin=subprocess.PIPE)
        moment = client.end(40)
        after = moment and moment - begin
        return result(f"{client.error_code()} after {seconds(after)}", after and after <= 10, after=after)


def killed(settings, traffic, victim):
    with World(settings) as world:
        link = Link(world, "port", "port", traffic=traffic)
        time.sleep(3)
        other = link.ends[1 - victim]
        since = time.monotonic()
        link.ends[victim].kill()
        return known(link, since, 20.0, [other])


case("server-killed-transfer", "the other end knows <= 20 s", quick=True, seconds=30)(
    lambda settings: killed(settings, True, 1))
case("client-killed-idle", "the other end knows <= 20 s", seconds=30)(lambda settings: killed(settings, False, 0))


def half_closed(settings, victim, traffic):
    """One end has ended its half; the other one, which still writes or says nothing, is killed."""
    with World(settings) as world:
        link = Link(world, "port", "port", traffic=False)
        other = link.ends[1 - victim]
        other.stdin.close()
        if traffic:
            (link.down if victim else link.up).is_on = True
        time.sleep(4)
        if not all(end.alive for end in link.ends):
            return result("an end left early: " + " ".join(end.text() for end in link.ends), False)
        since = time.monotonic()
        link.ends[victim].kill()
        return known(link, since, 20.0, [other], wait=60.0)


for NAME, VICTIM, TRAFFIC in (("half-closed-client", 1, False), ("half-closed-client-transfer", 1, True),
                              ("half-closed-server", 0, False)):
    case(NAME, "the reader that has ended its half knows <= 20 s", quick=NAME == "half-closed-client", seconds=45)(
        lambda settings, victim=VICTIM, traffic=TRAFFIC: half_closed(settings, victim, traffic))


def stopped(settings, length, victim, traffic=True, kind="port"):
    with World(settings) as world:
        link = Link(world, kind, kind, traffic=traffic)
        time.sleep(3)
        process = link.ends[victim]
        begin = time.monotonic()
        process.send(signal.SIGSTOP)
        time.sleep(length)
        process.send(signal.SIGCONT)
        since = time.monotonic()
        if not traffic:
            link.up.is_on = link.down.is_on = True
        if link.watch(since, 25):
            gap = max(flow.first_after(since) - since for flow in link.flows)
            return result(f"survives, moves {seconds(gap)} after it", gap <= 3 and link.wrong() == 0, gap=gap)
        after = link.known_after(begin, length + 30.0)
        # The end that ran knows within the usual time, the stopped one within that time of its awakening.
        bounds = [20.0 + (length if end is process else 0.0) for end in link.ends]
        ok = length > 12 and all(value is not None and value <= bound for value, bound in zip(after, bounds))
        return result(f"dies; client and server know after {after} s", ok, known=after)


for NAME, LENGTH, VICTIM in (("stopped-4-client", 4, 0), ("stopped-10-client", 10, 0), ("stopped-30-client", 30, 0),
                             ("stopped-4-server", 4, 1), ("stopped-30-server", 30, 1)):
    case(NAME, "survives" if LENGTH < 12 else "both ends know <= 20 s, or it survives",
         quick=NAME == "stopped-4-client", seconds=LENGTH + 30)(
        lambda settings, length=LENGTH, victim=VICTIM: stopped(settings, length, victim))
case("stopped-30-idle", "both ends know <= 20 s, or it survives", seconds=70)(
    lambda settings: stopped(settings, 30, 0, traffic=False))


def interrupted(settings, number, victim, traffic):
    with World(settings) as world:
        link = Link(world, "port", "port", traffic=traffic)
        time.sleep(2)
        other = link.ends[1 - victim]
        since = time.monotonic()
        link.ends[victim].send(number)
        outcome = known(link, since, 1.0, [other])
        left = link.ends[victim].end(5)
        text = outcome.now + f"; the interrupted one left after {seconds(left and left - since)}"
        if victim:  # a server that has left is known to have left
            client = world.start(link.client_site.host, "connect", link.key, stdin=subprocess.PIPE)
            begin = time.monotonic()
            moment = client.end(30)
            text += f"; a dial afterwards: {client.error_code()} after {seconds(moment and moment - begin)}"
        return result(text, outcome.ok and left is not None, **outcome.figures)


for NAME, NUMBER, VICTIM, TRAFFIC, QUICK in (
        ("interrupt-listen", signal.SIGINT, 1, False, True), ("terminate-listen", signal.SIGTERM, 1, True, False),
        ("interrupt-connect", signal.SIGINT, 0, True, False), ("terminate-connect", signal.SIGTERM, 0, False, True)):
    case(NAME, "the other end knows <= 1 s", quick=QUICK, seconds=30)(
        lambda settings, number=NUMBER, victim=VICTIM, traffic=TRAFFIC:
        interrupted(settings, number, victim, traffic))


def relayed_kill(settings, victim):
    """Both ends refuse to punch; an end or the relay is killed."""
    with World(settings) as world:
        relay, key = world.start_relay()
        link = Link(world, "sym", "sym", relay=key, no_punch=True, traffic=False, server_relay=True)
        time.sleep(4)
        since = time.monotonic()
        (relay if victim == "relay" else link.server).kill()
        return known(link, since, 20.0, link.ends if victim == "relay" else [link.client])


for VICTIM in ("listen", "relay"):
    case(f"relayed-{VICTIM}-killed", "every remaining end knows <= 20 s", seconds=40)(
        lambda settings, victim=VICTIM: relayed_kill(settings, victim))
