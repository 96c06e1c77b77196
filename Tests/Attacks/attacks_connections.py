"""Attacks on what connections cost: a relay's places, a swarm's places, an address that is only claimed, secrets."""

import os
import resource
import selectors
import subprocess
import threading
import time

import wire
from attacks_dht import Victim
from rows import Skipped, attack
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


FORGERIES = {
    "DESTROY": lambda client: wire.packet(wire.DESTROY, client.remote, client.sequence, client.expected),
    "DESTROY, acknowledgement unknown": lambda client: wire.packet(wire.DESTROY, client.remote, client.sequence, 0),
    "DESTROY, far ahead": lambda client: wire.packet(wire.DESTROY, client.remote, client.sequence + 60_000, 0),
    "END": lambda client: wire.packet(wire.END, client.remote, client.sequence, client.expected),
    "DATA": lambda client: wire.packet(wire.DATA, client.remote, client.sequence, client.expected, os.urandom(100)),
}


@attack("forged-stream-packets", "5 of 5 kinds change nothing")
def forged(tool):
    """Packets from a third address that has got to know a stream's id and both of its sequence numbers."""
    with World(tool) as world:
        _, key = world.server()
        stranger, harmful = wire.bound(attacker()), []
        for name, forge in FORGERIES.items():
            session = RelaySession(key)
            for _ in range(3):
                stranger.sendto(forge(session.client), SERVER)
            session.client.pump(0.3)
            # A stream that works pairs two streams over the relay.
            token = os.urandom(32)
            session.pair(token, 1, 21)
            session.pair(token, 0, 22)
            if session.verdict(token, 3) is not True or session.client.ended:
                harmful.append(name)
            session.client.close()
        text = f"{len(FORGERIES) - len(harmful)} of {len(FORGERIES)}"
        return text + (f"; harmful: {', '.join(harmful)}" if harmful else ""), not harmful


@attack("forged-relay-packets", "none of 3 kinds is forwarded; the link stays")
def forged_relay(tool):
    """The same at a blind relay: packets of a stranger that knows the id of a relayed stream."""
    with World(tool) as world:
        _, key = world.server()
        first, second = RelaySession(key), RelaySession(key)
        token = os.urandom(32)
        first.pair(token, 1, 31)
        second.pair(token, 0, 32)
        link = next((wire.Reader(message[35:]).varint() for message in first.client.pump(0.5)
                     if message[:2] == b"\1\0" and token in message), None)
        if link is None:
            raise WorldError("the relay has not paired")
        stranger, forwarded = wire.bound(attacker()), 0

        def arrivals():
            """Packets for the relayed stream at the second client."""
            count, end = 0, time.monotonic() + 0.3
            while (left := end - time.monotonic()) > 0:
                second.client.socket.settimeout(left)
                try:
                    data = second.client.socket.recv(2048)
                except (TimeoutError, BlockingIOError):
                    break
                count += data[0] == 255 and int.from_bytes(data[4:8], "little") == 32
                second.client.take(data)
            return count

        for kind in (wire.DATA, wire.END, wire.DESTROY):
            stranger.sendto(wire.packet(kind, link, 0, 0, b"x" * 50), SERVER)
            forwarded += arrivals() > 0
        first.client.socket.sendto(wire.packet(wire.DATA, link, 0, 0, b"x" * 50), SERVER)
        stays = arrivals() > 0
        text = f"{forwarded} of 3 are; the link {'stays' if stays else 'is gone'}"
        return text, forwarded == 0 and stays


class Crowd:
    """Clients that do no more than to acknowledge what they get: a thread of its own answers for them."""

    def __init__(self):
        self.clients, self.over, self.selector = [], False, selectors.DefaultSelector()
        self.thread = threading.Thread(target=self.stay, daemon=True)
        self.thread.start()

    def add(self, client):
        client.socket.setblocking(False)
        self.clients.append(client)
        self.selector.register(client.socket, selectors.EVENT_READ, client)

    def stay(self):
        while not self.over:
            # An empty selector does not wait.
            for event, _ in self.selector.select(0.1) or [(None, time.sleep(0.01))]:
                try:
                    while event:
                        event.data.take(event.fileobj.recv(2048))
                except BlockingIOError:
                    continue

    def end(self):
        self.over = True
        self.thread.join()


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


def open_port(process, key):
    """Where the process answers handshakes for the key."""
    for port in udp_ports(process):
        client = wire.Client((SERVER[0], port), bytes.fromhex(key), "44.201.1.1")
        if client.connect(tries=1):
            client.close()
            return client.server
    raise WorldError("no socket answers")


@attack("strangers-in-a-swarm", "70 connected; a peer of the topic is dialled within 20 s")
def strangers(tool):
    """70 connections of one host to a swarm that has room for 64 peers, before a peer that it looks for is there."""
    with World(tool) as world:
        swarm, key = joined(world, "a topic of two")
        server, crowd = open_port(swarm, key), Crowd()
        while len(crowd.clients) < 70:
            client = wire.Client(server, bytes.fromhex(key), "44.200.1.1")
            if not client.connect(tries=2):
                break
            client.pump(0.02)
            crowd.add(client)
        seen = len(swarm.events("peer-joined")) - len(swarm.events("peer-left"))
        _, peer_key = joined(world, "--server-only", "a topic of two")
        began = time.monotonic() - swarm.began
        found = swarm.wait("peer-joined", 40, publicKey=peer_key)
        crowd.end()
        after = found[0] - began if found else float("inf")
        return f"{seen} connected; dialled after {max(after, 0):.1f} s", seen >= 70 and after <= 20


@attack("unfinished-frames", "all memory together <= 64 MiB and 32 KiB for each; gone in 60 s")
def unfinished_frames(tool):
    """1,000 strangers begin a frame of 16 MiB each and send 256 KiB of it."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[1] < 2048:
        raise Skipped("needs 2,048 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, limit[1]))
    with World(tool) as world:
        swarm, key = joined(world, "a topic of strangers")
        server, crowd = open_port(swarm, key), Crowd()
        before, most = swarm.memory(), 0
        for number in range(1000):
            client = wire.Client(server, bytes.fromhex(key), f"44.200.{number >> 3 & 255}.{1 + (number & 7)}")
            if not client.connect(tries=3):
                client.socket.close()
                continue
            client.pump(0.01)
            client.begin_frame(187)
            crowd.add(client)
            most = max(most, swarm.memory() - before)
        began = time.monotonic()
        while time.monotonic() - began < 75:
            # Those that were ended before they became connections have neither event.
            count, left = (len(swarm.events(name)) for name in ("peer-joined", "peer-left"))
            most = max(most, swarm.memory() - before)
            if left >= count:
                break
            time.sleep(0.5)
        seconds = time.monotonic() - began
        crowd.end()
        text = f"{count} connected: {most:.0f} MiB; {left} gone {seconds:.0f} s after the last"
        return text, most <= 64 + count / 32 and left >= count > 900 and seconds <= 60


@attack("peer-that-does-not-read", "the others get the lines of a chat again after 15 s")
def silent_reader(tool):
    """A peer of a chat closes its window, while more is said than the connection holds."""
    with World(tool) as world:
        swarm, key = joined(world, "a topic of three")
        server, crowd = open_port(swarm, key), Crowd()
        silent, reader = (wire.Client(server, bytes.fromhex(key), attacker()) for _ in range(2))
        for client in (silent, reader):
            if not client.connect():
                raise WorldError("the swarm admits no client")
            client.pump(0.2)
        silent.window = 0
        silent.send(b"", 0)
        crowd.add(silent)
        os.set_blocking(swarm.stdin.fileno(), False)
        began, last, longest = time.monotonic(), time.monotonic(), 0
        while time.monotonic() - began < 40:
            try:
                os.write(swarm.stdin.fileno(), (b"x" * 1000 + b"\n") * 8)
            except BlockingIOError:
                pass
            before = reader.expected
            reader.pump(0.02)
            reader.received, reader.read = reader.received[reader.read:], 0
            if reader.expected > before + 1:
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
        longest = max(longest, time.monotonic() - last)
        crowd.end()
        count = reader.expected
        return f"the longest pause is {longest:.1f} s; {count} packets in 40 s", longest <= 15 and count > 1000


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
