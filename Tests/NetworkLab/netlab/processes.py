"""Processes in namespaces, the times of their lines, and what only a thread inside a namespace can do."""

import ctypes
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab itself did not work: not a verdict about the tool."""


def run(arguments, check=True, **options):
    result = subprocess.run(arguments, capture_output=True, text=True, **options)
    if check and result.returncode:
        raise LabError(f"{' '.join(arguments)}: {result.stderr.strip()} {options.get('input', '')}")
    return result


def inside(namespace, action):
    """Runs `action` on a thread of its own that has entered the namespace: sockets that it makes belong there."""
    results = []

    def body():
        try:
            with open(f"/run/netns/{namespace}") as file:
                if LIBC.setns(file.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns {namespace}")
            results.append((action(), None))
        except BaseException as error:
            results.append((None, error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    value, error = results[0]
    if error:
        raise error
    return value


def flush_conntrack(namespace):
    """Forgets all mappings, as a NAT box does that restarts: what `conntrack -F` does, by netlink."""
    def action():
        # nlmsghdr: length, type (subsystem 1, IPCTNL_MSG_CT_DELETE 2), flags (request, acknowledge); then nfgenmsg
        message = struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 1 | 4, 1, 0, 0, 0, 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:
            netlink.bind((0, 0))
            netlink.send(message)
            error = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
        if error:
            raise LabError(f"flush of conntrack in {namespace}: {os.strerror(-error)}")
    inside(namespace, action)


class Capture:
    """Times and addresses of the UDP datagrams that pass an interface of a namespace, in the given direction."""

    def __init__(self, namespace, interface, outgoing):
        self.packets = []
        self.interface, self.outgoing = interface, outgoing
        self.socket = inside(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            try:
                data, address = self.socket.recvfrom(65_536)
            except OSError as error:
                if self.socket.fileno() < 0 or error.errno == 9:
                    return
                continue  # the interface went down
            interface, _, kind = address[:3]
            if interface != self.interface or (kind == socket.PACKET_OUTGOING) != self.outgoing:
                continue
            if len(data) < 28 or data[0] >> 4 != 4 or data[9] != 17:
                continue
            header = (data[0] & 15) * 4
            ports = struct.unpack_from(">HH", data, header)
            self.packets.append((time.monotonic(), socket.inet_ntoa(data[16:20]), ports[1], len(data)))

    def first_after(self, moment):
        return next((packet[0] for packet in list(self.packets) if packet[0] >= moment), None)

    def count(self, begin, end):
        return sum(1 for packet in list(self.packets) if begin <= packet[0] < end)

    def close(self):
        self.socket.close()


class Process:
    """A process; its lines of standard error (and of standard output if asked) with the seconds since its start."""

    def __init__(self, namespace, arguments, stdin=None, stdout=None, lines_of_stdout=False):
        self.began = time.monotonic()
        self.name = f"{namespace}: {' '.join(arguments)}"
        self.lines = []
        self.ended = None
        self.changed = threading.Condition()
        if lines_of_stdout:
            stdout = subprocess.PIPE
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *arguments],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.DEVNULL if stdout is None else stdout,
            stderr=subprocess.PIPE, restore_signals=True, start_new_session=True)
        self.stdin, self.stdout, self.pid = self.process.stdin, self.process.stdout, self.process.pid
        threading.Thread(target=self.read, args=(self.process.stderr,), daemon=True).start()
        if lines_of_stdout:
            threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True).start()
        threading.Thread(target=self.wait_for_end, daemon=True).start()

    def read(self, stream):
        for line in stream:
            with self.changed:
                self.lines.append((time.monotonic(), line.decode(errors="replace").rstrip()))
                self.changed.notify_all()

    def wait_for_end(self):
        self.process.wait()
        time.sleep(0.02)  # the readers finish first
        with self.changed:
            self.ended = time.monotonic() - 0.02
            self.changed.notify_all()

    def line(self, pattern, timeout):
        """(moment, line) of the first line that matches; (moment, None) when the process ends or time is over."""
        limit, index = time.monotonic() + timeout, 0
        with self.changed:
            while True:
                while index < len(self.lines):
                    moment, line = self.lines[index]
                    index += 1
                    if re.search(pattern, line):
                        return moment, line
                left = limit - time.monotonic()
                if self.ended or left <= 0:
                    return time.monotonic(), None
                self.changed.wait(left)

    def end(self, timeout):
        """The moment at which the process has ended, or None."""
        limit = time.monotonic() + timeout
        with self.changed:
            while not self.ended and time.monotonic() < limit:
                self.changed.wait(max(0.0, limit - time.monotonic()))
        return self.ended

    @property
    def alive(self):
        return self.process.poll() is None

    @property
    def code(self):
        return self.process.poll()

    def text(self, characters=200):
        return " | ".join(line for _, line in self.lines)[-characters:]

    def error_code(self):
        """The code of the tool's last error, such as PEER_NOT_FOUND."""
        found = re.findall(r"\b([A-Z]+(?:_[A-Z]+)+|ETIMEDOUT|ECONNRESET)\b", self.text(2000))
        return found[-1] if found else self.text(60)

    def send(self, number):
        if self.alive:
            self.process.send_signal(number)

    def kill(self):
        if self.alive:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
