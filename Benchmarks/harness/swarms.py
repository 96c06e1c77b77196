"""Swarms on one topic in four processes: how long until all have found each other, and what that costs."""
import json
import subprocess
import time

import stacks
from histogram import of

PROCESSES = 4
LOOK = 0.1  # seconds between two looks
QUIET = 3  # seconds without a new connection after which the swarms are taken for complete
LIMIT = 120  # seconds
MAX_PEERS = 64  # connections up to which a swarm dials


class Members:
    """The swarms of one process."""

    def __init__(self, program, bootstrap, count):
        self.process = subprocess.Popen([program, "swarms", bootstrap, str(count)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError("a process of swarms has ended")
        return line


def look(members):
    for member in members:
        member.say("look")
    seen = [json.loads(member.answer()) for member in members]
    return {
        "degrees": [degree for one in seen for degree in one["degrees"]],
        "connecting": sum(one["connecting"] for one in seen),
        "flushes": [seconds for one in seen for seconds in one["flushes"]],
        "cpu": sum(one["cpu"] for one in seen),
    }


def settle(members, count):
    """What the swarms are when nothing new has come for a while, when the last connection came, and when each had as
    many as it dials for."""
    begin = last = time.monotonic()
    most, full = 0, None
    while True:
        now = look(members)
        ends = sum(now["degrees"])
        if ends > most:
            most, last, at_last = ends, time.monotonic(), now
        if full is None and min(now["degrees"]) >= min(MAX_PEERS, count - 1):
            full = time.monotonic() - begin
        quiet = time.monotonic() - last
        if len(now["flushes"]) == count and quiet > QUIET and not now["connecting"]:
            return now, last - begin, at_last["cpu"], full
        if time.monotonic() - begin > LIMIT:
            raise RuntimeError(f"{count} swarms are not complete after {LIMIT} s: {now}")
        time.sleep(LOOK)


def once(result, path, quick):
    count = 40 if quick else 200
    with stacks.Network(path) as bootstrap:
        members = [Members(path, bootstrap, count // PROCESSES) for _ in range(PROCESSES)]
        try:
            for member in members:
                member.answer()
            for member in members:
                member.say("join")
            now, last, cpu, full = settle(members, count)
        finally:
            for member in members:
                stacks.end(member.process)
    work = f"{count} swarms on one topic, {PROCESSES} processes"
    if full is not None:
        result.add(f"{work}, {MAX_PEERS} connections each" if count > MAX_PEERS else f"{work}, all with all", "s", full,
                   higher=False)
    result.add(f"{work}, last connection", "s", last, higher=False)
    result.add(f"{work}, CPU until then", "s", cpu, higher=False)
    result.add(f"{work}, fewest connections of a swarm", "", min(now["degrees"]), higher=True)
    result.add(f"{work}, connections", "", sum(now["degrees"]) // 2, higher=True)
    result.add_times(f"{work}, flush", "ours", of([seconds * 1e6 for seconds in now["flushes"]]))
