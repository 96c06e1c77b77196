"""Floods of first handshake messages against a server, while real clients connect to it."""

import multiprocessing
import os
import random
import socket
import threading
import time

import wire
from attacks_dht import connects
from rows import attack
from world import (
    ATTACKERS, CLIENT, JAVASCRIPT, OURS, SERVER, WITHOUT_TOKENS, Pace, World, attacker, need_javascript)

# Seconds of flood before the first of the clients, between two of them, and after the last.
LEAD, INTERVAL, TAIL = 6, 1, 3
CLIENTS = 20


def requests(kind, key, firewall, count):
    """The values of so many different PEER_HANDSHAKE requests."""
    make = wire.Handshake(wire.Key(), key).prepared()
    for _ in range(count):
        noise = os.urandom(200)
        if kind != "garbage":
            noise = make(wire.payload(int.from_bytes(os.urandom(4), "little") | 1, firewall))
        if kind in ("direct", "relayed"):
            yield wire.handshake(wire.FROM_CLIENT, noise)
        else:
            yield wire.handshake(wire.FROM_RELAY, noise, (attacker(), random.randint(1024, 65_535)))


def flood(kind, key, nodes, rate, seconds, count, firewall, name, ready):
    """In a process of its own: `count` sources ask the server; without any, the nodes are asked, by packets of another
    source each, of the host `name` if one is given."""
    target, values = wire.digest(key), list(requests(kind, key, firewall, int(rate * seconds)))
    sources = [wire.bound(attacker()) for _ in range(count)]
    raw = None if sources else socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    ready.set()
    pace, number = Pace(rate), 0
    while number < len(values):
        for _ in range(min(pace.due(), len(values) - number)):
            to = SERVER if sources else nodes[number % len(nodes)]
            data = wire.request(to, wire.PEER_HANDSHAKE, target=target, value=values[number])
            if sources:
                sources[number % count].sendto(data, to)
            else:
                raw.sendto(wire.datagram((name or attacker(), random.randint(1024, 65_535)), to, data), to)
            number += 1
        time.sleep(0.001)


def measure(tool, kind, rate, count, seconds, cpu, firewall=wire.FIREWALL_UNKNOWN, name=None, client=OURS, lead=LEAD,
            interval=INTERVAL):
    with World(tool, nodes=6, clients=True, filters=[ATTACKERS] if count else [ATTACKERS, SERVER]) as world:
        server, key = world.server()
        time.sleep(5)
        ready = multiprocessing.Event()
        flooder = multiprocessing.Process(
            target=flood, args=(
                kind, key, world.nodes, rate, lead + CLIENTS * interval + TAIL, count, firewall, name, ready))
        flooder.start()
        ready.wait(120)
        spent, began, descriptors, results = server.cpu(), time.monotonic(), [server.descriptors()], []
        time.sleep(lead)
        thread = threading.Thread(target=lambda: results.extend(world.connects(key, CLIENTS, interval, client)))
        thread.start()
        for _ in range(int(2 * CLIENTS * interval)):
            time.sleep(0.5)
            descriptors.append(server.descriptors())
        share = 100 * (server.cpu() - spent) / (time.monotonic() - began)
        thread.join()
        flooder.join()
        text, held = connects(results, seconds)
        came = server.count("dht_handshakes_received")
        text += f"; CPU {share:.0f} %; descriptors {min(descriptors)}..{max(descriptors)}; {came} handshakes looked at"
        held = held and share <= cpu and max(descriptors) - min(descriptors) <= CLIENTS
        return text, held and came > 20 * CLIENTS


FLOOD = "20 of 20 connects, p95 <= 2 s; CPU <= 20 %; no descriptors but the clients'"


@attack("handshakes-of-invented-clients", FLOOD)
def valid(tool):
    """1,000 valid first messages a second of four sources, each for a client that does not exist."""
    return measure(tool, "valid", 1000, 4, 2, 20)


@attack("handshakes-of-reachable-clients", FLOOD)
def reachable(tool):
    """The same, and the clients say that they are reachable."""
    return measure(tool, "valid", 1000, 4, 2, 20, wire.FIREWALL_OPEN)


@attack("handshakes-that-do-not-go-on", FLOOD)
def direct(tool):
    """1,000 valid first messages a second of four clients that take no further step."""
    return measure(tool, "direct", 1000, 4, 2, 20)


@attack("handshakes-of-garbage", FLOOD)
def garbage(tool):
    """3,000 messages a second of sixteen sources that do not decrypt, each for another client."""
    return measure(tool, "garbage", 3000, 16, 2, 20)


RELAYED = "20 of 20 connects, p95 <= 4 s; CPU <= 60 %; no descriptors but the clients'"


@attack("handshakes-over-own-relays", RELAYED)
def relayed(tool):
    """1,000 valid first messages a second with forged sources, over the nodes that a firewalled server is found by."""
    return measure(tool, "relayed", 1000, 0, 4, 60)


@attack("more-handshakes-over-own-relays", RELAYED)
def more(tool):
    """3,000 a second: twice what these nodes pass on."""
    return measure(tool, "relayed", 3000, 0, 4, 60)


@attack("handshakes-in-a-clients-name", RELAYED, quick=True)
def named(tool):
    """1,000 valid first messages a second over these nodes in the name of the clients' host; like those of deployed
    peers its clients echo no tokens."""
    return measure(
        tool, "relayed", 1000, 0, 4, 60, name=CLIENT, client=WITHOUT_TOKENS, lead=2, interval=0.3)


@attack("more-handshakes-in-a-clients-name", RELAYED)
def more_named(tool):
    """3,000 a second."""
    return measure(tool, "relayed", 3000, 0, 4, 60, name=CLIENT, client=WITHOUT_TOKENS)


@attack("more-handshakes-and-deployed-clients", RELAYED)
def more_deployed(tool):
    """3,000 a second in the names of all hosts, and clients that echo no tokens."""
    return measure(tool, "relayed", 3000, 0, 4, 60, client=WITHOUT_TOKENS)


@attack("more-handshakes-and-javascript-clients", RELAYED)
def javascript(tool):
    """The same with clients of the JavaScript stack, where it is installed."""
    need_javascript()
    return measure(tool, "relayed", 3000, 0, 4, 60, client=JAVASCRIPT)


@attack("handshakes-in-a-javascript-clients-name", RELAYED)
def javascript_named(tool):
    """The same in their host's name."""
    need_javascript()
    return measure(tool, "relayed", 3000, 0, 4, 60, name=CLIENT, client=JAVASCRIPT)
