"""Ends that are stopped while something else happens, relays that stop, members that begin anew."""

import os
import signal
import threading
import time

from .cases_ends import known
from .flows import SEED, Link, Member, pair_of_members, result_of_return, stable, survives_return
from .table import case, result, seconds
from .world import World


def half_closed_stopped(settings, victim):
    """One end has ended its half; the other one is stopped, and goes on when it is given up."""
    with World(settings) as world:
        link = Link(world, "port", "port", traffic=False)
        other = link.ends[1 - victim]
        other.stdin.close()
        time.sleep(3)
        since = time.monotonic()
        link.ends[victim].send(signal.SIGSTOP)
        outcome = known(link, since, 20.0, [other])
        awake = time.monotonic()
        link.ends[victim].send(signal.SIGCONT)
        end = link.ends[victim].end(30)
        after = end and end - awake
        return result(f"{outcome.now}; the stopped one {seconds(after)} after its awakening",
                      outcome.ok and after is not None and after <= 20)


for NAME, VICTIM in (("client", 1), ("server", 0)):
    case(f"half-closed-{NAME}-stopped", "the reader that has ended its half knows <= 20 s, the stopped one as soon",
         seconds=50)(lambda settings, victim=VICTIM: half_closed_stopped(settings, victim))


def lingering(settings, fate):
    """Both have ended their halves; megabytes of the client wait for a server that does not read."""
    with World(settings) as world:
        server, key = world.listen(world.site("s", "port").host, "--seed", SEED, stdout=-1)
        client = world.start(world.site("c", "port").host, "connect", key, stdin=-1, stdout=-1)
        client.line("connected with", 30)
        data = os.urandom(20 << 20)

        def feed():
            try:
                client.stdin.write(data)
                client.stdin.close()
            except OSError:
                pass  # the client has ended
        threading.Thread(target=feed, daemon=True).start()
        time.sleep(2)
        server.stdin.close()
        time.sleep(30)
        if not (server.alive and client.alive):
            return result(f"ended early: {client.text()}", False)
        since = time.monotonic()
        if fate != "reads":
            server.send(signal.SIGKILL if fate == "killed" else signal.SIGSTOP)
            end = client.end(60)
            after = end and end - since
            return result(f"known after {seconds(after)} ({client.error_code()})", after is not None and after <= 20)
        received = server.stdout.read()
        client.end(20)
        return result(f"{len(received)} bytes {seconds(time.monotonic() - since)} after it reads, exit {client.code}",
                      received == data and client.code == 0)


for FATE in ("reads", "killed", "stopped"):
    case(f"lingering-write-{FATE}", "all bytes arrive" if FATE == "reads" else "the writer knows <= 20 s", seconds=60)(
        lambda settings, fate=FATE: lingering(settings, fate))


@case("stopped-60-both", "survives, moves <= 3 s after it: what waits in the sockets is read first", seconds=90)
def both_stopped(settings):
    with World(settings) as world:
        link = Link(world, "port", "port")
        time.sleep(3)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for end in link.ends:
                end.send(number)
            if number == signal.SIGSTOP:
                time.sleep(60)
        return survives_return(link, time.monotonic())


def stopped_swarm(settings, length, meanwhile):
    """A member is stopped; meanwhile the other one gets another public address, or only time passes."""
    with World(settings) as world:
        sites, members = pair_of_members(world)
        members[0].process.send(signal.SIGSTOP)
        time.sleep(2)
        if meanwhile == "moves":
            world.change_address(sites[1])
        time.sleep(length - 2)
        members[0].process.send(signal.SIGCONT)
        return result_of_return(members, time.monotonic(), 5)


for LENGTH, MEANWHILE in ((18, "waits"), (60, "waits"), (32, "moves")):
    case(f"stopped-{LENGTH}-swarm-{MEANWHILE}", "stable <= 5 s after the awakening, no flapping", seconds=LENGTH + 40)(
        lambda settings, length=LENGTH, meanwhile=MEANWHILE: stopped_swarm(settings, length, meanwhile))


def restarts(settings, pause):
    """A member is killed and begins anew with the same key."""
    with World(settings) as world:
        seed = ("--seed", "22" * 32)
        sites, members = pair_of_members(world, arguments=seed)
        members[1].process.kill()
        time.sleep(pause)
        back = time.monotonic()
        members[1] = Member(world, sites[1].host, "network-lab", *seed).ready()
        lasting, _ = stable(members, back, 60)
        return result(f"stable {seconds(lasting)}", lasting is not None and lasting <= 5)


for PAUSE in (0, 12):
    case(f"member-restarts-{PAUSE}", "stable <= 5 s after it", seconds=PAUSE + 40)(
        lambda settings, pause=PAUSE: restarts(settings, pause))


def relay_stops(settings, length):
    with World(settings) as world:
        relay, key = world.start_relay()
        link = Link(world, "sym", "sym", relay=key, no_punch=True, server_relay=True)
        time.sleep(4)
        since = time.monotonic()
        relay.send(signal.SIGSTOP)
        if length > 12:
            return known(link, since, 20.0, link.ends)
        time.sleep(length)
        relay.send(signal.SIGCONT)
        return survives_return(link, time.monotonic())


case("relay-stopped-6", "survives, moves <= 3 s after it", seconds=35)(lambda settings: relay_stops(settings, 6))
case("relay-stopped-30", "both ends know <= 20 s", seconds=35)(lambda settings: relay_stops(settings, 30))
