"""What the tool itself does at its ends: pipes, files, second callers."""

import os
import pty
import signal
import subprocess
import time

from .exchange import exchange
from .flows import BLOCK, Flow
from .table import case, result, seconds
from .world import World

# Cases that start with "tool-" are about the pipes of `listen` and `connect`, not about the network.


def ends_after_copy(settings, is_terminal, limit):
    with World(settings) as world:
        host = world.site("s", "pub").host
        path = os.path.join(world.folder, "file")
        with open(path, "wb") as file:
            file.write(os.urandom(1 << 20))
        keyboard, terminal = pty.openpty()
        with open(path, "rb") as source, open(path + ".got", "wb") as sink:
            server, key = world.listen(host, stdin=source)
            client = world.start(host, "connect", key, stdin=terminal if is_terminal else subprocess.PIPE, stdout=sink)
        end_of_copy = time.monotonic() + 20
        while os.path.getsize(path + ".got") < 1 << 20 and time.monotonic() < end_of_copy:
            time.sleep(0.02)
        since = time.monotonic()
        ends = [process.end(15) for process in (server, client)]
        after = [end and end - since for end in ends]
        for descriptor in (keyboard, terminal):
            os.close(descriptor)
        return result(f"listen {seconds(after[0])}, connect {seconds(after[1])}",
                      None not in ends and max(after) <= limit, after=after)


case("tool-ends-after-copy", "both exit <= 2 s after the last byte, standard input is a terminal", seconds=25)(
    lambda settings: ends_after_copy(settings, True, 2.0))
case("tool-ends-after-copy-pipe", "both exit <= 7 s after the last byte, standard input is an open pipe", seconds=25)(
    lambda settings: ends_after_copy(settings, False, 7.0))


@case("tool-output-is-data", "standard output is a strict prefix of what was sent", seconds=45)
def output_is_data(settings):
    with World(settings) as world:
        host = world.site("s", "pub").host
        server, key = world.listen(host)
        client = world.start(host, "connect", "--json", key, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        client.line("connection", 20)
        flow = Flow(server, client, 3_000_000, True)
        time.sleep(3)
        server.kill()
        end = client.end(40)
        time.sleep(0.2)
        extra = flow.received % BLOCK
        ok = end is not None and flow.wrong == 0 and not flow.rest.startswith(b"{") and b'"event"' not in flow.rest
        return result(f"{'strict prefix' if ok else 'other bytes at the end'}, exit {client.code}", ok, extra=extra)


@case("tool-second-caller", "served in turn or refused with a reason <= 10 s, never connected and ignored", seconds=40)
def second_caller(settings):
    with World(settings) as world:
        host = world.site("s", "pub").host
        server, key = world.listen(host, stdout=subprocess.PIPE)
        first = world.start(host, "connect", key, stdin=subprocess.PIPE)
        first.line("connected", 20)
        time.sleep(1)
        second = world.start(host, "connect", key, stdin=subprocess.PIPE)
        end = second.end(20)
        ignored = any("connected with" in line for _, line in second.lines)
        ok = end is not None and not ignored
        return result(f"{'connected and ignored' if ignored else second.error_code()}, "
                      f"ended {seconds(end and end - second.began)}", ok)


def empty(settings, relay):
    with World(settings) as world:
        options = ["--relay", world.start_relay()[1]] if relay else []
        outcome = exchange(world, world.site("s", "port").host, world.site("c", "port").host, size=0,
                           client_options=options, wait_for_end=True)
        return result(f"exit codes {outcome.exits}", outcome.exits == (0, 0))


case("empty-transfer", "both exit 0", quick=True, seconds=10)(lambda settings: empty(settings, False))
case("empty-transfer-relay", "both exit 0", seconds=10)(lambda settings: empty(settings, True))


@case("interrupt-waiting-listen", "ends <= 2 s; a dial afterwards fails <= 2 s with PEER_NOT_FOUND", seconds=15)
def interrupt_waiting(settings):
    with World(settings) as world:
        server, key = world.listen(world.site("s", "port").host)
        time.sleep(1)
        since = time.monotonic()
        server.send(signal.SIGINT)
        end = server.end(10)
        client = world.start(world.site("c", "port").host, "connect", key, stdin=subprocess.PIPE)
        moment = client.end(30)
        left, dial = end and end - since, moment and moment - client.began
        ok = left is not None and left <= 2 and dial is not None and dial <= 2 and "NOT_FOUND" in client.error_code()
        return result(f"ends {seconds(left)}; dial: {client.error_code()} after {seconds(dial)}", ok)
