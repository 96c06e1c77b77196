#!/usr/bin/env python3
"""Peers of both kinds on one loopback network, in every combination. See README.md in this folder."""

import contextlib
import hashlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = {"js": "02" * 32, "native": "03" * 32}
KEY = {
    "js": "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
    "native": "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1",
}
SIZE = 3_000_000
DEADLINE = 30
SETTLE = 4  # seconds in which a duplicate has to be gone


def payload(count):
    out, state = bytearray(count), 1
    for index in range(count):
        state = (state * 1103515245 + 12345) & 0xFFFFFFFF
        out[index] = state >> 24
    return bytes(out)


PAYLOAD = payload(SIZE)
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()


class Peer:
    """A child process whose JSON lines (of standard output or standard error, or both) are events."""

    def __init__(self, arguments, events="stdout"):
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if events == "both" else subprocess.PIPE)
        self.events = queue.Queue()
        self.seen = []
        stream = self.process.stderr if events == "stderr" else self.process.stdout
        threading.Thread(target=self.read, args=(stream,), daemon=True).start()
        if events == "stdout":
            threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def read(self, stream):
        for line in stream:
            try:
                self.events.put(json.loads(line))
            except ValueError:
                pass
        self.events.put(None)

    def wait_for(self, *names):
        limit = time.monotonic() + DEADLINE
        while True:
            event = self.events.get(timeout=max(0.1, limit - time.monotonic()))
            if event is None:
                raise RuntimeError(f"ended before {names}: {self.seen[-3:]}")
            self.seen.append(event)
            if event.get("event") in names:
                return event

    def drain(self):
        while not self.events.empty():
            event = self.events.get()
            if event is not None:
                self.seen.append(event)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Lab:
    def __init__(self, tool):
        self.tool = tool
        self.peers = []
        self.note = ""

    def start(self, arguments, events="stdout"):
        peer = Peer(arguments, events)
        self.peers.append(peer)
        return peer

    def js(self, *arguments):
        return self.start(["node", os.path.join(HERE, "peer.js"), *arguments])

    def native(self, *arguments, events="stdout"):
        return self.start([self.tool, *arguments, "--json"], events)

    def stop_all(self):
        while self.peers:
            self.peers.pop().stop()

    def network(self, kind):
        if kind == "js":
            return self.js("testnet", "5").wait_for("ready")["bootstrap"]
        nodes = self.native("testnet", "--size", "5", "--port", "0").wait_for("ready", "testnet")["bootstrap"]
        return nodes if isinstance(nodes, str) else nodes[0]

    # One connection by key: the dialler sends, the listener answers with the digest.
    def by_key(self, bootstrap, listener, dialler):
        if listener == "js":
            server = self.js("listen", bootstrap, SEED["js"])
            server.wait_for("ready")
        else:
            server = self.native(
                "listen", "--bootstrap", bootstrap, "--seed", SEED["native"], events="stderr")
            server.wait_for("listening")
            threading.Thread(target=self.answer, args=(server.process,), daemon=True).start()
        if dialler == "js":
            ok = self.js("connect", bootstrap, KEY[listener], str(SIZE)).wait_for("answered")["ok"]
        else:
            client = self.native("connect", KEY[listener], "--bootstrap", bootstrap, events="stderr")
            reply, _ = self.talk(client.process)
            ok = reply == DIGEST
        server.stop()
        return ok

    @staticmethod
    def answer(process):
        received = process.stdout.read(SIZE)
        process.stdin.write(hashlib.sha256(received).hexdigest().encode())
        process.stdin.close()

    @staticmethod
    def talk(process):
        process.stdin.write(PAYLOAD)
        process.stdin.close()
        timer = threading.Timer(DEADLINE, process.kill)
        timer.start()
        reply = process.stdout.read().decode()
        timer.cancel()
        return reply, process.wait()

    # A tunnel adds nothing to the bytes: a JavaScript peer behind `expose`, and behind `forward`.
    def tunnel(self, bootstrap, js_listens):
        if not js_listens:
            service = socket.create_server(("127.0.0.1", 0))
            threading.Thread(target=self.serve, args=(service,), daemon=True).start()
            exposed = self.native(
                "expose", str(service.getsockname()[1]), "--bootstrap", bootstrap, "--seed", SEED["native"])
            key = exposed.wait_for("exposed")["publicKey"]
            return self.js("connect", bootstrap, key, str(SIZE)).wait_for("answered")["ok"]
        self.js("listen", bootstrap, SEED["js"]).wait_for("ready")
        forward = self.native("forward", "0", KEY["js"], "--bootstrap", bootstrap)
        port = int(forward.wait_for("forwarding")["address"].split(":")[1])
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
            client.sendall(PAYLOAD)
            client.shutdown(socket.SHUT_WR)
            return self.read_all(client).decode() == DIGEST

    # The same with holesail on one side. It destroys its connections before what the service said last has left, so
    # that the answer here is short, and the service leaves the end to the client.
    def holesail(self, bootstrap, holesail_serves, kind):
        service = socket.create_server(("127.0.0.1", 0))
        port = service.getsockname()[1]
        threading.Thread(target=self.serve_one, args=(service,), daemon=True).start()
        script = os.path.join(HERE, "holesail.js")
        if holesail_serves:
            self.start(["node", script, "serve", bootstrap, SEED["js"], str(port), kind]).wait_for("ready")
            secret = SEED["js"] if kind == "private" else KEY["js"]
            forward = self.native("forward", "0", secret, "--bootstrap", bootstrap,
                                  *(["--private"] if kind == "private" else []))
            local = int(forward.wait_for("forwarding")["address"].split(":")[1])
        else:
            exposed = self.native("expose", str(port), "--bootstrap", bootstrap, "--seed", SEED["native"],
                                  *(["--private"] if kind == "private" else []))
            exposed.wait_for("exposed")
            with socket.create_server(("127.0.0.1", 0)) as probe:
                local = probe.getsockname()[1]
            secret = SEED["native"] if kind == "private" else KEY["native"]
            self.start(["node", script, "reach", bootstrap, secret, str(local), kind]).wait_for("ready")
        with socket.create_connection(("127.0.0.1", local), DEADLINE) as client:
            client.sendall(PAYLOAD)
            return client.recv(64, socket.MSG_WAITALL).decode() == DIGEST

    def serve_one(self, service):
        connection, _ = service.accept()
        with connection:
            received = bytearray()
            while len(received) < SIZE:
                received += connection.recv(65_536)
            connection.sendall(hashlib.sha256(received).hexdigest().encode())
            with contextlib.suppress(ConnectionResetError):
                self.read_all(connection)

    def serve(self, service):
        connection, _ = service.accept()
        with connection:
            connection.sendall(hashlib.sha256(self.read_all(connection)).hexdigest().encode())

    @staticmethod
    def read_all(connection):
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
        return b"".join(parts)

    # Two swarms on a topic: both sides report a connection.
    def by_topic(self, bootstrap, first, second, roles):
        topic = os.urandom(32).hex()
        peers = []
        for kind, role in zip((first, second), roles):
            if kind == "js":
                peer = self.js("swarm", bootstrap, topic, role)
                peer.wait_for("ready")
                peers.append((peer, "connection"))
            else:
                flags = {"server": ["--server-only"], "client": ["--client-only"], "both": []}[role]
                peer = self.native("join", topic, *flags, "--bootstrap", bootstrap, events="both")
                peer.wait_for("joined")
                peers.append((peer, "peer-joined"))
        for peer, event in peers:
            if not any(seen.get("event") == event for seen in peer.seen):
                peer.wait_for(event)
        return True

    # Both dial each other at the same moment: one connection is left, the one that the larger key has dialled
    # (hyperswarm.md 7.3), and both sides mean the same one.
    def at_once(self, bootstrap, is_js_larger):
        seeds = {"js": SEED["native"], "native": SEED["js"]} if is_js_larger else SEED
        topic = os.urandom(32).hex()
        js = self.js("pair", bootstrap, topic, seeds["js"])
        js.wait_for("ready")
        native = self.native("join", topic, "--bootstrap", bootstrap, "--seed", seeds["native"], events="both")
        js.wait_for("connection")
        native.wait_for("peer-joined")
        time.sleep(SETTLE)
        js.drain()
        native.drain()
        open_ones = {e["number"]: e["initiator"] for e in js.seen if e.get("event") == "connection"}
        dialled = sorted(open_ones.values())
        for event in js.seen:
            if event.get("event") == "close":
                open_ones.pop(event["number"], None)
        names = [event.get("event") for event in native.seen]
        lines = [event.get("text", "") for event in native.seen if event.get("event") == "message"]
        left = names.count("peer-joined") - names.count("peer-left")
        if not any(event.get("event") == "dialling" for event in js.seen):
            raise RuntimeError("the native peer did not dial")
        self.note = f"js saw {'/'.join('dialled' if d else 'accepted' for d in dialled)}"
        if len(open_ones) != 1 or left != 1:
            raise RuntimeError(f"{len(open_ones)} and {left} open connections, {self.note}: {js.seen} {native.seen}")
        number, initiator = next(iter(open_ones.items()))
        if f"line of {number}" not in "".join(lines):
            raise RuntimeError(f"not the same connection: {js.seen} {native.seen}")
        # Where the JavaScript dial came too late there was nothing to decide.
        return initiator == is_js_larger or dialled == [False]

    # An announcement of one kind is found by the other.
    def look_up(self, bootstrap, announcer, reader):
        topic = os.urandom(32).hex()
        if announcer == "js":
            self.js("announce", bootstrap, topic, SEED["js"]).wait_for("done")
        else:
            done = subprocess.run(
                [self.tool, "announce", topic, "--bootstrap", bootstrap, "--seed", SEED["native"], "--json"],
                capture_output=True, timeout=DEADLINE, check=False)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.decode().strip())
        if reader == "js":
            peers = self.js("lookup", bootstrap, topic).wait_for("done")["peers"]
            return KEY[announcer] in peers
        done = subprocess.run(
            [self.tool, "lookup", topic, "--bootstrap", bootstrap, "--json"],
            capture_output=True, timeout=DEADLINE, check=False)
        return KEY[announcer] in done.stdout.decode()

    # A value under its hash, stored by one kind and read by the other.
    def store(self, bootstrap, writer, reader):
        value = f"a value of {os.urandom(8).hex()}"
        if writer == "js":
            key = self.js("put", bootstrap, value).wait_for("done")["hash"]
        else:
            put = subprocess.run([self.tool, "put", value, "--bootstrap", bootstrap], capture_output=True,
                                 timeout=DEADLINE, check=False)
            key = put.stdout.decode().strip()
        if reader == "js":
            return self.js("get", bootstrap, key).wait_for("done")["value"] == value
        read = subprocess.run([self.tool, "get", key, "--bootstrap", bootstrap], capture_output=True,
                              timeout=DEADLINE, check=False)
        return read.stdout.decode() == value


def main():
    if len(sys.argv) not in (2, 3, 4):
        print("usage: run.py PATH-OF-hyperswarm [PART-OF-CASE-NAME [TIMES]]", file=sys.stderr)
        return 64
    probe = subprocess.run(
        ["node", "-e", "require('hyperswarm');require('hyperdht/testnet')"], capture_output=True, check=False)
    if probe.returncode != 0:
        print("skipped: node with hyperswarm and hyperdht in NODE_PATH is not here")
        return 77
    # An option: the packages are not of the stack itself.
    has_holesail = subprocess.run(
        ["node", "-e", "require('holesail-client');require('holesail-server');require('z32')"], capture_output=True,
        check=False).returncode == 0
    lab, passed, failed = Lab(sys.argv[1]), 0, 0
    kinds = ("js", "native")
    cases = []
    for dht in kinds:
        for a in kinds:
            for b in kinds:
                cases.append((dht, f"listen {a}, connect {b}", lambda net, a=a, b=b: lab.by_key(net, a, b)))
                cases.append((dht, f"announce {a}, lookup {b}", lambda net, a=a, b=b: lab.look_up(net, a, b)))
                cases.append((dht, f"put {a}, get {b}", lambda net, a=a, b=b: lab.store(net, a, b)))
                for roles in (("server", "client"), ("both", "both")):
                    cases.append((
                        dht, f"swarm {a} {roles[0]}, {b} {roles[1]}",
                        lambda net, a=a, b=b, roles=roles: lab.by_topic(net, a, b, roles)))
        for listens in (False, True):
            cases.append((
                dht, "forward to js" if listens else "connect js to expose",
                lambda net, listens=listens: lab.tunnel(net, listens)))
        for serves, kind in [(a, b) for a in (False, True) for b in ("public", "private") if has_holesail]:
            cases.append((
                dht, f"{'forward to' if serves else 'expose to'} holesail, {kind}",
                lambda net, serves=serves, kind=kind: lab.holesail(net, serves, kind)))
        for larger in kinds:
            cases.append((
                dht, f"both dial at once, larger key {larger}",
                lambda net, larger=larger: lab.at_once(net, larger == "js")))
    if len(sys.argv) > 2:
        cases = [case for case in cases if sys.argv[2] in case[1]]
    if len(sys.argv) > 3:
        cases = cases * int(sys.argv[3])
    for dht, name, run in cases:
        started, lab.note = time.monotonic(), ""
        try:
            ok = run(lab.network(dht))
            reason = f": {lab.note}" if lab.note else ""
        except (RuntimeError, queue.Empty, subprocess.TimeoutExpired, KeyError) as error:
            ok, reason = False, f": {type(error).__name__} {error}"
        lab.stop_all()
        passed, failed = passed + bool(ok), failed + (not ok)
        print(f"{'ok  ' if ok else 'FAIL'} dht {dht}: {name} ({time.monotonic() - started:.1f} s){reason}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
