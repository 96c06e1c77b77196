"""Attacks on what connections cost: a relay's places, a swarm's places, an address that is only claimed, secrets."""

import os
import subprocess
import threading
import time

import wire
from attacks_dht import Victim
from rows import attack
from world import SERVER, VICTIM, World, WorldError, attacker

OPEN_RELAY_CHANNEL = bytes([0, 1, 1]) + wire.counted(b"blind-relay")


class RelaySession:
    """A client of a blind relay on its control connection (hyperdht.md 10)."""

    def __init__(self, key):
        self.client = wire.Client(SERVER, key, attacker())
        if not self.client.connect():
            raise WorldError("the relay admits no client")
        self.client.write(OPEN_RELAY_CHANNEL + wire.counted(self.client.key.public))
        self.client.pump(0.1)

    def pair(self, token, is_initiator, stream):
        self.client.write(bytes([1, 0, is_initiator]) + token + wire.varint(stream) + wire.varint(0))

    def verdict(self, token, seconds):
        """True when both sides are there, False when the relay has refused, None for no word."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for message in self.client.pump(0.02):
                if message[:2] in (b"\1\0", b"\1\1") and token in message:
                    return message[1] == 0
        return None


@attack("relay-token-flood", "20 of 20 honest pairs, none refused, p95 <= 1 s", quick=True)
def relay_tokens(tool):
    """Five strangers, each with keys and an address of its own, name tokens as fast as the relay takes them."""
    with World(tool) as world:
        process, key = world.server()
        strangers = [RelaySession(key) for _ in range(5)]
        memory, over, named = process.memory(), threading.Event(), [0] * 5

        def flood(index):
            session = strangers[index]
            while not over.is_set() and not session.client.ended:
                for _ in range(8):
                    session.pair(os.urandom(32), 1, named[index] + 1)
                    named[index] += 1
                session.client.pump(0.02)

        threads = [threading.Thread(target=flood, args=(index,)) for index in range(5)]
        for thread in threads:
            thread.start()
        time.sleep(3)
        times, refused = [], 0
        for _ in range(20):
            # One side waits while the strangers go on, then the other comes.
            token, first = os.urandom(32), RelaySession(key)
            first.pair(token, 1, 11)
            early = first.verdict(token, 0.3)
            second, began = RelaySession(key), time.monotonic()
            second.pair(token, 0, 12)
            verdicts = [early, second.verdict(token, 3), None if early is False else first.verdict(token, 3)]
            refused += False in verdicts
            if verdicts == [None, True, True]:
                times.append(time.monotonic() - began)
            first.client.close()
            second.client.close()
        over.set()
        for thread in threads:
            thread.join()
        slow = sorted(times)[-2] if len(times) > 1 else float("inf")
        text = f"{len(times)} of 20, {refused} refused, p95 {slow:.2f} s"
        text += f" ({sum(named):,} tokens named, {memory:.0f}..{process.memory():.0f} MB)"
        return text, len(times) == 20 and refused == 0 and slow <= 1


def udp_ports(process):
    """Ports of the process's UDP sockets."""
    inodes = set()
    for descriptor in os.listdir(f"/proc/{process.pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{process.pid}/fd/{descriptor}"))
        except OSError:
            continue
    with open(f"/proc/{process.pid}/net/udp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return [int(row[1].rsplit(":", 1)[1], 16) for row in rows if f"socket:[{row[9]}]" in inodes]


def joined(world, *arguments):
    process = world.start("join", "--bootstrap", world.bootstrap, *arguments)
    found = process.wait("joined", 30)
    if not found:
        raise WorldError("the swarm does not start: " + process.text())
    return process, found[1]["publicKey"]


@attack("strangers-in-a-swarm", "70 connected; a peer of the topic is dialled within 20 s")
def strangers(tool):
    """70 connections of one host to a swarm that has room for 64 peers, before a peer that it looks for is there."""
    with World(tool) as world:
        swarm, key = joined(world, "a topic of two")
        crowd, over = [], threading.Event()
        for port in udp_ports(swarm):
            first = wire.Client((SERVER[0], port), bytes.fromhex(key), "44.150.1.1")
            if first.connect(tries=1):
                crowd.append(first)
                break
        if not crowd:
            raise WorldError("no socket of the swarm answers")
        while len(crowd) < 70:
            client = wire.Client(crowd[0].server, bytes.fromhex(key), "44.150.1.1")
            if not client.connect(tries=2):
                break
            client.pump(0.02)
            crowd.append(client)

        def stay():
            while not over.is_set():
                for client in crowd:
                    client.pump(0.003)
                over.wait(0.3)

        thread = threading.Thread(target=stay)
        thread.start()
        try:
            seen = len(swarm.events("peer-joined"))
            peer, peer_key = joined(world, "--server-only", "a topic of two")
            began = time.monotonic() - swarm.began
            found = swarm.wait("peer-joined", 40, publicKey=peer_key)
        finally:
            over.set()
            thread.join()
        after = found[0] - began if found else float("inf")
        return f"{seen} connected; dialled after {max(after, 0):.1f} s", seen >= 70 and after <= 20


@attack("claimed-address", "at most 3 packets for each handshake")
def claimed_address(tool):
    """50 handshakes that say: the client is reachable, and it is at the address of a host that knows nothing of it."""
    with World(tool) as world:
        _, key = world.server()
        victim, source, own = Victim(), wire.bound(attacker()), wire.Key()
        for number in range(50):
            noise = wire.Handshake(own, key).first(wire.payload(number + 1, wire.FIREWALL_OPEN))
            value = wire.handshake(wire.FROM_RELAY, noise, VICTIM)
            source.sendto(wire.request(SERVER, wire.PEER_HANDSHAKE, target=wire.digest(key), value=value), SERVER)
            time.sleep(0.02)
        end = time.monotonic() + 18
        while time.monotonic() < end:
            victim.take()
            time.sleep(0.05)
        return f"{victim.packets} packets, {victim.bytes} bytes", 0 < victim.packets <= 150


@attack("trace-files", "readable by their owner only", quick=True)
def trace_files(tool):
    """A qlog file, which holds addresses of peers, made under the widest umask."""
    with World(tool) as world:
        path = os.path.join(world.folder.name, "trace.qlog")
        subprocess.run([tool, "demo", "--size", "1", "--qlog", path], umask=0, timeout=60, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        mode = os.stat(path).st_mode & 0o777
        return f"{mode:04o}", mode == 0o600
