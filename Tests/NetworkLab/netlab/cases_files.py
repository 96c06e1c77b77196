"""Files from one NAT to another: straight, while the receiver moves, and with a death of either side in the middle."""

import hashlib
import json
import os
import time

from .flows import SEED
from .processes import LabError
from .table import case, result, seconds
from .world import World

SIZE = 48 << 20
PART = SIZE // 3  # what is there when something happens
LIMIT = 120  # seconds for the whole


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


class Transfer:
    """A sender behind one NAT, a receiver behind another, and a folder for each."""

    def __init__(self, world, *options):
        self.world, self.options = world, options
        self.sender_site, self.receiver_site = world.site("s", "port"), world.site("c", "port")
        self.source = os.path.join(world.folder, "big file")
        self.target = os.path.join(world.folder, "received")
        os.mkdir(self.target)
        with open(self.source, "wb") as file:
            file.write(os.urandom(SIZE))
        self.send()

    def send(self):
        self.sender = self.world.start(self.sender_site.host, "send", "--json", *self.options, self.source,
                                       lines_of_stdout=True)
        line = self.sender.line('"offer"', 30)[1]
        if not line:
            raise LabError("no offer: " + self.sender.text())
        offer = json.loads(line)
        self.way_in = offer["code"] or offer["publicKey"]

    def receive(self):
        self.receiver = self.world.start(self.receiver_site.host, "receive", "--json", "--yes", "--output", self.target,
                                         self.way_in, lines_of_stdout=True)

    def stored(self):
        """Bytes on the disk of the receiver."""
        total = 0
        for folder, _, files in os.walk(self.target):
            for name in files:
                try:
                    total += os.stat(os.path.join(folder, name)).st_blocks * 512
                except FileNotFoundError:
                    pass  # it has got its name
        return total

    def wait_for_part(self):
        limit = time.monotonic() + 60
        while self.stored() < PART:
            if time.monotonic() > limit or not self.receiver.alive:
                raise LabError("the transfer does not begin: " + self.receiver.text())
            time.sleep(0.01)
        if os.path.exists(os.path.join(self.target, "big file")):
            raise LabError("the transfer was over before anything could happen")

    def arrived(self):
        """Bytes that have come to the receiver's host."""
        counter = "/sys/class/net/eth0/statistics/rx_bytes"
        return int(self.world.execute(self.receiver_site.host, "cat", counter).stdout)

    def verdict(self, since, more=""):
        """Both sides end with 0, and the file is what was sent."""
        ends = [process.end(LIMIT) for process in (self.receiver, self.sender)]
        codes = (self.receiver.code, self.sender.code)
        if None in ends or codes != (0, 0):
            text = f"receiver and sender end with {codes}: {self.receiver.text(150)}"
            return result(text, False, codes=codes)
        same = digest(os.path.join(self.target, "big file")) == digest(self.source)
        again = sum('"reconnecting"' in line for _, line in self.receiver.lines)
        text = f"complete after {seconds(ends[0] - since)}" + (f", {again} connections more" if again else "") + more
        return result(text if same else "another content", same and os.listdir(self.target) == ["big file"],
                      complete=ends[0] - since, reconnects=again)


@case("files-nat-to-nat", "the file arrives, both end with 0", seconds=40)
def files(settings):
    with World(settings) as world:
        transfer = Transfer(world)
        since = time.monotonic()
        transfer.receive()
        return transfer.verdict(since)


@case("files-receiver-moves", "the file arrives, both end with 0", seconds=60)
def receiver_moves(settings):
    with World(settings) as world:
        transfer = Transfer(world)
        transfer.receive()
        transfer.wait_for_part()
        since = time.monotonic()
        world.change_address(transfer.receiver_site)
        return transfer.verdict(since)


@case("files-receiver-killed", "the same command goes on where it was", seconds=90)
def receiver_killed(settings):
    with World(settings) as world:
        transfer = Transfer(world)
        transfer.receive()
        transfer.wait_for_part()
        transfer.receiver.kill()
        since, before = time.monotonic(), transfer.arrived()
        transfer.receive()
        outcome = transfer.verdict(since)
        share = (transfer.arrived() - before) / SIZE
        return result(f"{outcome.now}, {share:.0%} of it sent again", outcome.ok and share < 0.95, share=share,
                      **outcome.figures)


@case("files-sender-killed", "the receiver goes on by itself with a new sender of the same key", seconds=120)
def sender_killed(settings):
    with World(settings) as world:
        transfer = Transfer(world, "--key", "--seed", SEED)
        transfer.receive()
        transfer.wait_for_part()
        transfer.sender.kill()
        since, before = time.monotonic(), transfer.arrived()
        transfer.send()
        outcome = transfer.verdict(since)
        share = (transfer.arrived() - before) / SIZE
        return result(f"{outcome.now}, {share:.0%} of it sent again", outcome.ok and share < 0.95, share=share,
                      **outcome.figures)
