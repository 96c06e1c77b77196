"""One connection with a file each way, compared byte by byte."""

import os
import re
import time

from .processes import LabError


class Exchange:
    """Figures of one connection: seconds to "connected", until both files are there, exit codes."""

    def __init__(self):
        self.connected = self.complete = self.ended = None
        self.exact = False
        self.code = ""
        self.exits = (None, None)

    def __str__(self):
        if self.connected is None:
            return self.code or "no connection"
        if not self.exact:
            return f"connected after {self.connected:.1f} s, but the data did not arrive ({self.code})"
        return f"connected {self.connected:.1f} s, data {self.complete:.1f} s"


def exchange(world, server_host, client_host, size=200_000, down=None, limit=40, server_options=(), client_options=(),
             wait_for_end=False):
    """A listening and a connecting tool; `size` bytes go up, `down` (or as many) come back."""
    down = size if down is None else down
    folder = os.path.join(world.folder, f"{time.monotonic_ns()}")
    os.mkdir(folder)
    names = {name: os.path.join(folder, name) for name in ("up", "down", "got-up", "got-down")}
    for name, count in (("up", size), ("down", down)):
        with open(names[name], "wb") as file:
            file.write(os.urandom(count))
    outcome = Exchange()
    with open(names["down"], "rb") as source, open(names["got-up"], "wb") as sink:
        server, key = world.listen(server_host, *server_options, stdin=source, stdout=sink)
    with open(names["up"], "rb") as source, open(names["got-down"], "wb") as sink:
        client = world.start(client_host, "connect", *client_options, key, stdin=source, stdout=sink)
    began = client.began
    moment, line = client.line("connected with|^hyperswarm", limit)
    outcome.ended = moment - began
    if not line or "connected" not in line:
        outcome.code = client.error_code() or ("no answer" if client.alive else f"exit {client.code}")
    else:
        outcome.connected = moment - began
        while time.monotonic() < began + limit:
            alive = client.alive or server.alive
            if os.path.getsize(names["got-up"]) >= size and os.path.getsize(names["got-down"]) >= down:
                outcome.complete = time.monotonic() - began
                break
            if not alive:
                break
            time.sleep(0.02)
        outcome.exact = all(read(names[a]) == read(names[b]) for a, b in (("up", "got-up"), ("down", "got-down")))
        if wait_for_end:
            client.end(5)
            server.end(5)
        if not outcome.exact or wait_for_end:
            outcome.code = f"{client.error_code()}; {server.error_code()}"
        outcome.exits = (server.code, client.code)
    for process in (client, server):
        process.kill()
    return outcome


def read(path):
    with open(path, "rb") as file:
        return file.read()


def key_of(process, timeout=20):
    """The 64 digits of a line "key ..."."""
    line = process.line("[0-9a-f]{64}", timeout)[1]
    if not line:
        raise LabError("no key: " + process.text())
    return re.search("[0-9a-f]{64}", line).group(0)
