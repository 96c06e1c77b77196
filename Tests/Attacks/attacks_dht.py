"""Attacks on a DHT node: floods, reflection, forwarding, records and tables."""

import multiprocessing
import os
import random
import socket
import threading
import time

import wire
from rows import attack
from world import CLIENT, SERVER, VICTIM, WITHOUT_TOKENS, Pace, World, attacker


class Victim:
    """Counts what comes to an address that has asked for nothing."""

    def __init__(self, place=VICTIM):
        self.socket, self.packets, self.bytes, self.values = wire.bound(*place, buffer=16 << 20), 0, 0, 0
        self.socket.setblocking(False)

    def take(self):
        while True:
            try:
                data = self.socket.recv(4096)
            except BlockingIOError:
                return
            self.packets += 1
            self.bytes += len(data)
            self.values += len((wire.response(data) or {}).get("value", b""))


def sources(count, buffer=1 << 18):
    found = [wire.bound(attacker(), buffer=buffer) for _ in range(count)]
    for source in found:
        source.setblocking(False)
    return found


def drain(source):
    count = size = 0
    while True:
        try:
            data = source.recv(4096)
        except BlockingIOError:
            return count, size
        count += 1
        size += len((wire.response(data) or {}).get("value", b""))


def send(source, data, to):
    try:
        source.sendto(data, to)
    except (BlockingIOError, ConnectionRefusedError):
        pass


def kib(count):
    return f"{count / 1024:.0f} KiB"


def flood(seconds, rate, step):
    """Calls `step(number)` at the rate."""
    pace, number = Pace(rate), 0
    while pace.seconds() < seconds:
        for _ in range(pace.due()):
            step(number)
            number += 1
        time.sleep(0.002)
    return number


@attack("garbage-to-a-node", "other hosts: 20 of 20 pings answered; CPU <= 20 %", quick=True)
def garbage(tool):
    """10,000 datagrams a second of one host: noise, and noise behind a valid first byte."""
    with World(tool) as world:
        node, source = world.processes[0], sources(1)[0]
        noise = [os.urandom(1 + number % 200) for number in range(512)]
        noise += [bytes([3, number & 31]) + os.urandom(60) for number in range(512)]
        before, answered, began = node.cpu(), 0, time.monotonic()
        for _ in range(20):
            flood(0.25, 10_000, lambda number: send(source, noise[number & 1023], world.nodes[0]))
            drain(source)
            asker = wire.bound(attacker())
            answered += wire.ask(asker, world.nodes[0], wire.PING, internal=True, timeout=0.5) is not None
            asker.close()
        share = 100 * (node.cpu() - before) / (time.monotonic() - began)
        return f"{answered} of 20; CPU {share:.0f} %", answered == 20 and share <= 20


def put_value(world):
    """A value of the greatest size in the node, and a request for it."""
    source, value = wire.bound(attacker()), os.urandom(1024)
    target, node = wire.digest(value), world.nodes[0]
    token = wire.ask(source, node, wire.IMMUTABLE_GET, target=target)["token"]
    assert wire.ask(source, node, wire.IMMUTABLE_PUT, target=target, value=value, token=token)["error"] == 0
    return wire.request(node, wire.IMMUTABLE_GET, target=target)


@attack("reflection-to-one-host", "16 KiB and 8 KiB/s of values: 56 KiB in 5 s", quick=True)
def reflection_to_one(tool):
    """5,000 requests a second for a value of 1 KiB, in the name of one host."""
    with World(tool) as world:
        data, victim = put_value(world), Victim()

        def step(_):
            victim.socket.sendto(data, world.nodes[0])
            victim.take()

        count = flood(5, 5000, step)
        time.sleep(0.2)
        victim.take()
        ratio = victim.bytes / (count * len(data))
        # A value more than the budget may have been begun.
        held = victim.values <= (16 + 5 * 8) << 10
        return f"{kib(victim.values)} of values; all answers {kib(victim.bytes)}, {ratio:.2f} of what was sent", held


@attack("reflection-to-many-hosts", "1 MiB and 256 KiB/s of values: 2,048 KiB in 4 s; CPU <= 40 %")
def reflection_to_many(tool):
    """8,000 requests a second for a value of 1 KiB, in the names of 400 hosts."""
    with World(tool) as world:
        data, victims, node = put_value(world), sources(400), world.processes[0]
        before, values = node.cpu(), 0
        flood(4, 8000, lambda number: send(victims[number % 400], data, world.nodes[0]))
        share = 100 * (node.cpu() - before) / 4
        time.sleep(0.2)
        values = sum(drain(victim)[1] for victim in victims)
        return f"{kib(values)} of values; CPU {share:.0f} %", values <= 2048 << 10 and share <= 40


@attack("forwarding-to-one-host", "512 and 256 packets/s: 1,536 in 4 s; other destinations are served", quick=True)
def forwarding(tool):
    """64 sources ask a node to pass 12,000 packets a second on to one host."""
    with World(tool) as world:
        victim, senders, other = Victim(), sources(64), Victim(("44.67.67.67", 5353))
        node, target = world.nodes[0], os.urandom(32)
        noise = os.urandom(300)

        def message(destination):
            value = wire.handshake(wire.FROM_SERVER, noise, destination)
            return wire.request(node, wire.PEER_HANDSHAKE, target=target, value=value)

        data, probe = message(VICTIM), message(("44.67.67.67", 5353))

        def step(number):
            send(senders[number & 63], data, node)
            if number % 64 == 0:
                victim.take()

        honest = 0
        for _ in range(4):
            flood(1, 12_000, step)
            asker = wire.bound(attacker())
            send(asker, probe, node)
            honest += 1
        time.sleep(0.3)
        victim.take()
        other.take()
        held = 1000 < victim.packets <= 512 + 4 * 256 + 256 and other.packets == honest
        return f"{victim.packets} in 4 s; {other.packets} of {honest} to another destination", held


@attack("topic-flood", "one host: at most 5 of the 20 records of a LOOKUP reply", quick=True)
def topic_flood(tool):
    """One host announces 1,000 keys on a topic on which three others have announced ten each."""
    with World(tool) as world:
        node, target = world.nodes[0], os.urandom(32)

        def announce(source, count):
            source.setblocking(True)
            grant, keys = wire.ask(source, node, wire.LOOKUP, target=target), []
            source.setblocking(False)
            for number in range(count):
                keys.append(wire.Key())
                value = wire.announcement(target, keys[-1], grant["token"], grant["id"])
                send(source, wire.request(node, wire.ANNOUNCE, target=target, token=grant["token"], value=value), node)
                if number % 20 == 19:
                    time.sleep(0.02)
            return [key.public for key in keys]

        honest = [key for source in sources(3) for key in announce(source, 10)]
        strange = announce(sources(1, buffer=1 << 20)[0], 1000)
        time.sleep(0.3)
        # A reader that echoes its token gets every reply in full.
        reader = wire.bound(attacker())
        token = wire.ask(reader, node, wire.LOOKUP, target=target)["token"]
        most, least, seen = 0, 20, set()
        for _ in range(200):
            value = wire.ask(reader, node, wire.LOOKUP, target=target, token=token)["value"]
            found = {key for key in strange if key in value}
            seen |= found
            most, least = max(most, len(found)), min(least, sum(key in value for key in honest))
        text = f"at most {most} of 20, others at least {least} (200 replies; {len(seen)} of its records were seen)"
        return text, most <= 5 and least >= 15 and len(seen) > 100


@attack("nodes-that-only-ask", "none of 600 in the table; the honest nodes stay", quick=True)
def table_flood(tool):
    """600 hosts ask with the id that belongs to their address, and never answer."""
    with World(tool, nodes=4) as world:
        node = world.nodes[0]
        asker = wire.bound(attacker())

        def table():
            found = set()
            for _ in range(40):
                answer = wire.ask(asker, node, wire.FIND_NODE, target=os.urandom(32), internal=True)
                found |= set(answer["closer"])
            return found

        end = time.monotonic() + 20
        while not (before := table()) >= set(world.nodes[1:]) and time.monotonic() < end:
            time.sleep(1)
        crowd = []
        for _ in range(600):
            source = wire.bound(attacker(), buffer=4096)
            place = source.getsockname()
            send(source, wire.request(node, wire.PING, internal=True, id=wire.node_id(*place)), node)
            crowd.append(source)
            time.sleep(0.002)
        time.sleep(3)
        after = table()
        strangers = len(after - set(world.nodes))
        kept = len(after & before)
        return f"{strangers} in the table; {kept} of {len(before)} stay", strangers == 0 and kept == len(before) == 3


def spoof(world, seconds, rate):
    """Pings in the name of the server, from ports that are not its own, so many a second to each node."""
    names = [wire.bound(SERVER[0]) for _ in range(8)]
    for name in names:
        name.setblocking(False)
    data = {node: wire.request(node, wire.PING, internal=True) for node in world.nodes}

    def step(number):
        node = world.nodes[number % len(world.nodes)]
        send(names[number & 7], data[node], node)
        if number % 64 == 0:
            for name in names:
                drain(name)

    return flood(seconds, rate * len(world.nodes), step)


@attack("spoofed-pings", "20 of 20 connects, p95 <= 4 s")
def spoofed_pings(tool):
    """1,000 pings a second to each of the six nodes in the name of a server, while clients connect to it."""
    with World(tool, nodes=6, clients=True) as world:
        _, key = world.server()
        time.sleep(3)
        results = []
        thread = threading.Thread(target=lambda: results.extend(world.connects(key, 20, 1)))
        spoof(world, 5, 1000)
        thread.start()
        spoof(world, 22, 1000)
        thread.join()
        return connects(results, 4)


def spoof_clients(nodes, rate, ended):
    """In a process of its own: pings in the name of the clients' host, so many a second in all, until `ended`."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    data = {node: wire.request(node, wire.PING, internal=True) for node in nodes}

    def step(number):
        node = nodes[number % len(nodes)]
        raw.sendto(wire.datagram((CLIENT, random.randint(1024, 65_535)), node, data[node]), node)

    while not ended.is_set():
        flood(1, rate, step)


@attack("spoofed-pings-in-a-clients-name", "20 of 20 connects, p95 <= 4 s")
def spoofed_client(tool):
    """3,000 pings a second over the six nodes in the name of a host, from which clients connect that, like those of
    deployed peers, echo no tokens."""
    with World(tool, nodes=6, clients=True) as world:
        _, key = world.server()
        time.sleep(3)
        ended = multiprocessing.Event()
        flooder = multiprocessing.Process(target=spoof_clients, args=(world.nodes, 3000, ended))
        flooder.start()
        time.sleep(5)
        results = world.connects(key, 20, 1, WITHOUT_TOKENS)
        ended.set()
        flooder.join()
        text, held = connects(results, 4)
        came = min(node.count("dht_ping_served") for node in world.processes[:6])
        return f"{text}; {came} pings answered by each node", held and came > 2000


def connects(results, bound):
    times = sorted(result for result in results if result is not None)
    slow = times[max(0, -(-len(times) * 95 // 100) - 1)] if times else float("inf")
    return f"{len(times)} of {len(results)}, p95 {slow:.1f} s", len(times) == len(results) and slow <= bound
