"""The protocol as an attacker speaks it: DHT messages, the Noise handshake, a UDX stream and its secret stream.

Written after docs/spec (dht-rpc.md 2, hyperdht.md 2, secret-stream.md 4 to 9, udx.md 1); libsodium of the system does
the cryptography. Enough to be a client, and to be one that does not keep to the rules.
"""

import ctypes
import ctypes.util
import hashlib
import hmac
import os
import socket
import struct
import time

SODIUM = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
if SODIUM.sodium_init() < 0:
    raise SystemExit("libsodium cannot be initialized")

# Internal commands, and those of HyperDHT (dht-rpc.md 2.4, hyperdht.md 2.1).
PING, FIND_NODE = 0, 2
PEER_HANDSHAKE, PEER_HOLEPUNCH, FIND_PEER, LOOKUP, ANNOUNCE, IMMUTABLE_PUT, IMMUTABLE_GET = 0, 1, 2, 3, 4, 8, 9
FROM_CLIENT, FROM_SERVER, FROM_RELAY = 0, 1, 2
FIREWALL_UNKNOWN, FIREWALL_OPEN = 0, 1
# Types of UDX packets (udx.md 1.1).
DATA, END, SACK, MESSAGE, DESTROY, HEARTBEAT = 1, 2, 4, 8, 16, 32


def digest(*parts, size=32, key=b""):
    return hashlib.blake2b(b"".join(parts), digest_size=size, key=key).digest()


def namespace(name, number):
    return digest(digest(name), bytes([number]))


PROLOGUE, _, _, _, ANNOUNCE_NAMESPACE = (namespace(b"hyperswarm/dht", number) for number in range(5))
INITIATOR = namespace(b"hyperswarm/secret-stream", 0)


# Encoding.

def varint(number):
    if number < 0xFD:
        return bytes([number])
    if number <= 0xFFFF:
        return b"\xfd" + struct.pack("<H", number)
    if number <= 0xFFFFFFFF:
        return b"\xfe" + struct.pack("<I", number)
    return b"\xff" + struct.pack("<Q", number)


def counted(data):
    return varint(len(data)) + data


def endpoint(host, port):
    return socket.inet_aton(host) + struct.pack("<H", port)


class Reader:
    def __init__(self, data):
        self.data, self.place = data, 0

    def bytes(self, count):
        self.place += count
        return self.data[self.place - count:self.place]

    def varint(self):
        first = self.bytes(1)[0]
        return first if first < 0xFD else int.from_bytes(self.bytes(2 << (first - 0xFD)), "little")

    def counted(self):
        return self.bytes(self.varint())

    def endpoint(self):
        return socket.inet_ntoa(self.bytes(4)), int.from_bytes(self.bytes(2), "little")


# Cryptography.

class Key:
    """An Ed25519 key pair; Noise uses it on the same curve (secret-stream.md 3)."""

    def __init__(self):
        seed = os.urandom(32)
        public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        SODIUM.crypto_sign_seed_keypair(public, secret, seed)
        self.public, self.secret = public.raw, secret.raw
        scalar = bytearray(hashlib.sha512(seed).digest()[:32])
        scalar[0] &= 0xF8
        scalar[31] = scalar[31] & 0x7F | 0x40
        self.scalar = bytes(scalar)

    def multiply(self, point):
        shared = ctypes.create_string_buffer(32)
        if SODIUM.crypto_scalarmult_ed25519_noclamp(shared, self.scalar, point) != 0:
            raise ValueError("no usable point")
        return shared.raw

    def sign(self, message):
        signature = ctypes.create_string_buffer(64)
        SODIUM.crypto_sign_detached(signature, None, message, ctypes.c_ulonglong(len(message)), self.secret)
        return signature.raw


def _aead(name, text, associated, key, count):
    result = ctypes.create_string_buffer(max(count, 1))
    # Noise counts nonces from zero under each key, and seals one text under each.
    arguments = [text, ctypes.c_ulonglong(len(text)), associated, ctypes.c_ulonglong(len(associated))]
    if name == "encrypt":
        status = SODIUM.crypto_aead_chacha20poly1305_ietf_encrypt(result, None, *arguments, None, bytes(12), key)
    else:
        status = SODIUM.crypto_aead_chacha20poly1305_ietf_decrypt(result, None, None, *arguments, bytes(12), key)
    if status != 0:
        raise ValueError("does not decrypt")
    return result.raw[:count]


class Handshake:
    """Noise IK of the initiator, with the prologue of HyperDHT."""

    def __init__(self, key, server):
        self.key, self.server, self.ephemeral = key, server, Key()
        self.hash = self.chain = b"Noise_IK_Ed25519_ChaChaPoly_BLAKE2b".ljust(64, b"\0")
        self._mix(PROLOGUE)
        self._mix(server)

    def _mix(self, data):
        self.hash = digest(self.hash, data, size=64)

    def _derive(self, shared):
        secret = hmac.new(self.chain, shared, hashlib.blake2b).digest()
        first = hmac.new(secret, b"\x01", hashlib.blake2b).digest()
        return first, hmac.new(secret, first + b"\x02", hashlib.blake2b).digest()

    def _seal(self, shared, text):
        self.chain, key = self._derive(shared)
        sealed = _aead("encrypt", text, self.hash, key[:32], len(text) + 16)
        self._mix(sealed)
        return sealed

    def first(self, payload):
        self._mix(self.ephemeral.public)
        static = self._seal(self.ephemeral.multiply(self.server), self.key.public)
        return self.ephemeral.public + static + self._seal(self.key.multiply(self.server), payload)

    def prepared(self):
        """Makes any number of different first messages, from their payloads, at the cost of a cipher each."""
        self._mix(self.ephemeral.public)
        head = self.ephemeral.public + self._seal(self.ephemeral.multiply(self.server), self.key.public)
        _, key = self._derive(self.key.multiply(self.server))
        return lambda payload: head + _aead("encrypt", payload, self.hash, key[:32], len(payload) + 16)

    def second(self, message):
        """The server's payload; after it `sending`, `receiving` and `hash` are those of the stream."""
        remote, sealed = message[:32], message[32:]
        self._mix(remote)
        self.chain, _ = self._derive(self.ephemeral.multiply(remote))
        self.chain, key = self._derive(self.key.multiply(remote))
        payload = _aead("decrypt", sealed, self.hash, key[:32], len(sealed) - 16)
        self._mix(sealed)
        sending, receiving = self._derive(b"")
        self.sending, self.receiving = sending[:32], receiving[:32]
        return payload


class SecretStream:
    """libsodium's secretstream, one direction."""

    def __init__(self):
        self.state = ctypes.create_string_buffer(52)

    def start_push(self, key):
        header = ctypes.create_string_buffer(24)
        SODIUM.crypto_secretstream_xchacha20poly1305_init_push(self.state, header, key)
        return header.raw

    def start_pull(self, header, key):
        SODIUM.crypto_secretstream_xchacha20poly1305_init_pull(self.state, header, key)

    def push(self, message):
        sealed = ctypes.create_string_buffer(len(message) + 17)
        SODIUM.crypto_secretstream_xchacha20poly1305_push(
            self.state, sealed, None, message, ctypes.c_ulonglong(len(message)), None, ctypes.c_ulonglong(0), 0)
        return sealed.raw

    def pull(self, sealed):
        message, tag = ctypes.create_string_buffer(max(len(sealed) - 17, 1)), ctypes.c_ubyte()
        if SODIUM.crypto_secretstream_xchacha20poly1305_pull(
                self.state, message, None, ctypes.byref(tag), sealed, ctypes.c_ulonglong(len(sealed)), None,
                ctypes.c_ulonglong(0)) != 0:
            raise ValueError("a frame does not decrypt")
        return message.raw[:len(sealed) - 17]


# Messages of the DHT.

def node_id(host, port):
    return digest(endpoint(host, port))


def request(to, command, target=None, value=None, token=None, internal=False, id=None, tid=None):
    flags = (id is not None) | (token is not None) << 1 | internal << 2 | (target is not None) << 3
    flags |= (value is not None) << 4
    head = bytes([3, flags]) + (os.urandom(2) if tid is None else struct.pack("<H", tid & 0xFFFF)) + endpoint(*to)
    body = (id or b"") + (token or b"") + varint(command) + (target or b"")
    return head + body + (counted(value) if value is not None else b"")


def response(data):
    """A dictionary, or None for other datagrams."""
    if len(data) < 10 or data[0] != 0x13:
        return None
    flags, reader = data[1], Reader(data)
    reader.bytes(2)
    fields = {"tid": reader.bytes(2), "to": reader.endpoint(), "closer": [], "error": 0}
    if flags & 1:
        fields["id"] = reader.bytes(32)
    if flags & 2:
        fields["token"] = reader.bytes(32)
    if flags & 4:
        fields["closer"] = [reader.endpoint() for _ in range(reader.varint())]
    if flags & 8:
        fields["error"] = reader.varint()
    if flags & 16:
        fields["value"] = reader.counted()
    return fields


def handshake(mode, noise, peer=None):
    return varint(1 if peer else 0) + varint(mode) + counted(noise) + (endpoint(*peer) if peer else b"")


def holepunch(mode, payload, peer=None):
    return varint(1 if peer else 0) + varint(mode) + varint(1) + counted(payload) + (endpoint(*peer) if peer else b"")


def announcement(target, key, token, id):
    record = key.public + varint(0)
    signature = key.sign(ANNOUNCE_NAMESPACE + digest(target, id, token, record))
    return varint(1 | 4) + record + signature


def payload(stream, firewall=FIREWALL_UNKNOWN):
    """Of message 1: a UDX stream and a secret stream follow (hyperdht.md 2.2)."""
    head = varint(1) + varint(8 | 16) + varint(0) + varint(firewall)
    return head + varint(1) + varint(0) + varint(stream) + varint(0) + varint(1)


def stream_of(data):
    """The id of the UDX stream in the server's payload."""
    reader = Reader(data)
    reader.varint()
    flags = reader.varint()
    reader.varint(), reader.varint()
    if flags & 1:
        reader.varint()
        reader.bytes(12 * reader.varint())
    for flag, size in ((2, 6), (4, 18)):
        if flags & flag:
            reader.bytes(size * reader.varint())
    reader.varint(), reader.varint()
    return reader.varint()


def packet(kind, stream, sequence, acknowledged, body=b"", window=4 << 20):
    return struct.pack("<BBBBIIII", 255, 1, kind, 0, stream, window, sequence & 0xFFFFFFFF,
                       acknowledged & 0xFFFFFFFF) + body


def datagram(source, destination, body):
    """An IPv4 packet with any source, for a raw socket; the kernel fills in the header's checksum."""
    udp = struct.pack("!HHHH", source[1], destination[1], 8 + len(body), 0)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(body), 0, 0, 64, socket.IPPROTO_UDP, 0,
                       socket.inet_aton(source[0]), socket.inet_aton(destination[0]))
    return head + udp + body


def bound(host, port=0, buffer=4 << 20):
    result = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    result.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    result.bind((host, port))
    return result


def ask(source, to, command, timeout=1.0, **fields):
    """The response to one request, or None."""
    data = request(to, command, **fields)
    source.settimeout(timeout)
    source.sendto(data, to)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            answer = response(source.recv(2048))
        except (TimeoutError, BlockingIOError):
            return None
        if answer and answer["tid"] == data[2:4]:
            return answer
    return None


class Client:
    """A client that connects to a server whose address it knows, with a socket of its own."""

    def __init__(self, server, key, host):
        self.server, self.socket = server, bound(host, buffer=1 << 20)
        self.key, self.stream = Key(), int.from_bytes(os.urandom(4), "little") | 1
        self.noise, self.server_key = Handshake(self.key, key), key
        self.sequence = self.expected = self.read = self.acknowledged = 0
        self.received, self.pulling, self.ended, self.window = b"", None, False, 4 << 20

    def connect(self, tries=4):
        first = self.noise.first(payload(self.stream, FIREWALL_OPEN))
        for _ in range(tries):
            answer = ask(self.socket, self.server, PEER_HANDSHAKE, target=digest(self.server_key),
                         value=handshake(FROM_CLIENT, first))
            if answer and answer.get("value"):
                break
        else:
            return False
        reader = Reader(answer["value"])
        reader.varint(), reader.varint()
        self.remote = stream_of(self.noise.second(reader.counted()))
        self.pushing = SecretStream()
        header = self.pushing.start_push(self.noise.sending)
        self.send(self._framed(digest(INITIATOR, key=self.noise.hash) + header))
        self.write(b"")
        return True

    @staticmethod
    def _framed(body):
        return struct.pack("<I", len(body))[:3] + body

    def send(self, body, kind=DATA):
        self.socket.sendto(packet(kind, self.remote, self.sequence, self.expected, body, self.window), self.server)
        self.sequence += 1 if kind & (DATA | END) else 0

    def write(self, message):
        self.send(self._framed(self.pushing.push(message)))

    def begin_frame(self, packets):
        """The beginning of a frame of the greatest length, in packets of 1,400 bytes, as far as the window allows."""
        base, stalled = self.sequence, 0
        first, rest = b"\xff\xff\xff" + bytes(1397), bytes(1400)
        while (done := max(self.acknowledged - base, 0)) < packets and stalled < 20 and not self.ended:
            for self.sequence in range(base + done, base + min(packets, done + 60)):
                self.send(first if self.sequence == base else rest)
            self.pump(0.005)
            stalled = 0 if self.acknowledged - base > done else stalled + 1
        self.sequence = base + done

    def pump(self, seconds):
        """Takes what has come within that time, acknowledges it, and returns the messages in it."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(2048)
            except (TimeoutError, BlockingIOError):
                break
            self.take(data)
        return list(self.messages())

    def take(self, data):
        if len(data) < 20 or data[0] != 255:
            return
        kind, offset, stream, _, sequence, acknowledged = struct.unpack_from("<BBIIII", data, 2)
        if stream != self.stream:
            return
        self.acknowledged = max(self.acknowledged, acknowledged)
        self.ended = self.ended or bool(kind & (END | DESTROY))
        if kind & DATA and sequence == self.expected:
            self.expected += 1
            self.received += data[20 + offset:]
        if kind & (DATA | END | HEARTBEAT):
            self.send(b"", 0)

    def messages(self):
        while len(self.received) >= self.read + 3:
            count = int.from_bytes(self.received[self.read:self.read + 3], "little")
            if len(self.received) < self.read + 3 + count:
                return
            body = self.received[self.read + 3:self.read + 3 + count]
            self.read += 3 + count
            if not self.pulling:
                self.pulling = SecretStream()
                self.pulling.start_pull(body[32:], self.noise.receiving)
            elif message := self.pulling.pull(body):
                yield message

    def close(self):
        self.send(b"", DESTROY)
        self.socket.close()
