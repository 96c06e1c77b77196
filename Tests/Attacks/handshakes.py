#!/usr/bin/env python3
"""Floods of first handshake messages against a server, while real clients connect to it.

    sudo Tests/Attacks/handshakes.py [--tool PATH] [--connects N] [CASE ...]

Prints a table `attack | bound | measured`; exit code 1 if a bound is exceeded. Needs root, iproute2, nftables and a
release build of the tool; a minute a case. The figures are those of a machine that has nothing else to do: where it
has, the server gets too little of the processor to read its packets, and a high priority helps.
"""

import argparse
import multiprocessing
import os
import random
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import network  # noqa: E402
import packets  # noqa: E402

# Seconds before the first client, and after the last.
LEAD, TAIL = 6, 3


class Case:
    def __init__(self, text, rate, sources, seconds, cpu, firewalled=False):
        self.text, self.rate, self.sources = text, rate, sources
        # Bounds: seconds of the slowest of 20 connects but one, and per cent of a core.
        self.seconds, self.cpu, self.firewalled = seconds, cpu, firewalled


CASES = {
    "valid": Case("valid first messages with invented clients", 1000, 4, 2.0, 20),
    "direct": Case("valid first messages of clients that do not go on", 1000, 4, 2.0, 20),
    "open": Case("valid first messages, invented clients that say they are reachable", 1000, 4, 2.0, 20),
    "garbage": Case("garbage with invented clients", 3000, 16, 2.0, 20),
    "relayed": Case("valid first messages of forged clients over own relays", 1000, 0, 4.0, 60, firewalled=True),
}


def packet(name, key, noise):
    peer = (network.attacker(), random.randint(1024, 65535))
    if name == "direct":
        return packets.handshake(key, network.SERVER, noise)
    return packets.handshake(key, network.SERVER, noise, packets.FROM_RELAY, peer)


def flood(namespace, name, public_key, seconds, ready):
    """Runs in a process of its own, inside the namespace."""
    with open(f"/var/run/netns/{namespace}") as file:
        os.setns(file.fileno(), os.CLONE_NEWNET) if hasattr(os, "setns") else setns(file.fileno())
    case, target = CASES[name], packets.target(public_key)
    messages = packets.FirstMessages(public_key)
    firewall = packets.FIREWALL_OPEN if name == "open" else packets.FIREWALL_UNKNOWN
    if case.sources:
        sockets = []
        for _ in range(case.sources):
            sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sockets[-1].bind((network.attacker(), 0))
    else:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    count = int(case.rate * seconds)
    noises = [os.urandom(200) if name == "garbage" else messages.make(firewall) for _ in range(count)]
    ready.set()
    begin = time.time()
    for index, noise in enumerate(noises):
        delay = begin + index / case.rate - time.time()
        if delay > 0.001:
            time.sleep(delay)
        if case.sources:
            sockets[index % case.sources].sendto(packet(name, target, noise), network.SERVER)
        else:
            node = network.NODES[index % len(network.NODES)]
            body = packets.handshake(target, node, noise)
            source = (network.attacker(), random.randint(1024, 65535))
            raw.sendto(packets.datagram(source, node, body), node)


def setns(descriptor):
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000) != 0:
        raise SystemExit("cannot enter the namespace")


def attack(name, tool, connects):
    case = CASES[name]
    net = network.Network(tool, case.firewalled)
    try:
        quiet = []
        for _ in range(3):
            net.connect(quiet)
        seconds = LEAD + connects + TAIL
        ready = multiprocessing.Event()
        key = bytes.fromhex(net.key)
        flooder = multiprocessing.Process(target=flood, args=(net.name, name, key, seconds, ready))
        flooder.start()
        ready.wait(120)
        before, begin = net.usage(), time.time()
        descriptors, memory = before[1], before[2]
        time.sleep(LEAD)
        results, threads = [], []
        for _ in range(connects):
            threads.append(threading.Thread(target=net.connect, args=(results,)))
            threads[-1].start()
            time.sleep(1)
            now = net.usage()
            descriptors, memory = max(descriptors, now[1]), max(memory, now[2])
        after, end = net.usage(), time.time()
        for thread in threads:
            thread.join()
        flooder.join()
    finally:
        net.close()
    cpu = 100 * (after[0] - before[0]) / (end - begin)
    return quiet, results, cpu, (before[1], descriptors), (before[2], memory)


def report(name, measured):
    case = CASES[name]
    quiet, results, cpu, descriptors, memory = measured
    times = sorted(result for result in results if result is not None)
    slow = times[max(0, -(-len(times) * 95 // 100) - 1)] if times else float("inf")
    rate = f"{case.rate}/s" + (f" from {case.sources}" if case.sources else "")
    bound = f"{len(results)} of {len(results)}, p95 <= {case.seconds:.0f} s, CPU <= {case.cpu} %"
    text = f"{len(times)} of {len(results)}, p95 {slow:.1f} s, CPU {cpu:.1f} %"
    text += f", descriptors {descriptors[0]}..{descriptors[1]}, {memory[0]:.0f}..{memory[1]:.0f} MB"
    calm = [result for result in quiet if result is not None]
    text += f" (quiet: {len(calm)} of {len(quiet)}, {max(calm, default=0):.1f} s)"
    print(f"| {case.text}, {rate} | {bound}, descriptors constant | {text} |", flush=True)
    # The port that handshakes share, and its successor while streams use it.
    is_constant = descriptors[1] - descriptors[0] <= 2
    return len(times) == len(results) and slow <= case.seconds and cpu <= case.cpu and is_constant


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/hyperswarm")
    parser.add_argument("--connects", type=int, default=20)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    arguments = parser.parse_args()
    print("| attack | bound | measured |\n|---|---|---|", flush=True)
    held = True
    for name in arguments.cases or CASES:
        measured = attack(name, os.path.abspath(arguments.tool), arguments.connects)
        held = report(name, measured) and held
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
