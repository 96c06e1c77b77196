"""Packets that attackers send: Noise message 1 of the handshake and the DHT messages that carry it.

Written after hyperdht.md 2 and 4 and secret-stream.md 4. libsodium is loaded from the system.
"""

import ctypes
import ctypes.util
import hashlib
import hmac
import os
import socket
import struct

_sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
if _sodium.sodium_init() < 0:
    raise SystemExit("libsodium cannot be initialized")

PEER_HANDSHAKE = 0
FROM_CLIENT, FROM_RELAY = 0, 2
FIREWALL_UNKNOWN, FIREWALL_OPEN = 0, 1


def _hash(*parts, size=32):
    return hashlib.blake2b(b"".join(parts), digest_size=size).digest()


PROLOGUE = _hash(_hash(b"hyperswarm/dht"), b"\0")


def varint(number):
    if number < 0xFD:
        return bytes([number])
    if number <= 0xFFFF:
        return b"\xfd" + struct.pack("<H", number)
    return b"\xfe" + struct.pack("<I", number)


def endpoint(host, port):
    return socket.inet_aton(host) + struct.pack("<H", port)


class Key:
    def __init__(self):
        seed = os.urandom(32)
        public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        _sodium.crypto_sign_seed_keypair(public, secret, seed)
        self.public = public.raw
        scalar = bytearray(hashlib.sha512(seed).digest()[:32])
        scalar[0] &= 0xF8
        scalar[31] = scalar[31] & 0x7F | 0x40
        self.scalar = bytes(scalar)

    def multiply(self, point):
        shared = ctypes.create_string_buffer(32)
        if _sodium.crypto_scalarmult_ed25519_noclamp(shared, self.scalar, point) != 0:
            raise ValueError("no usable point")
        return shared.raw


class FirstMessages:
    """Distinct messages 1 of one client to one server. The expensive part is made once: the server cannot tell."""

    def __init__(self, server_key):
        client, ephemeral = Key(), Key()
        name = b"Noise_IK_Ed25519_ChaChaPoly_BLAKE2b".ljust(64, b"\0")
        self._hash = name
        self._chain = name
        self._mix_hash(PROLOGUE)
        self._mix_hash(server_key)
        self._mix_hash(ephemeral.public)
        key = self._mix_key(ephemeral.multiply(server_key))
        sealed = self._seal(key, client.public)
        self._mix_hash(sealed)
        self._key = self._mix_key(client.multiply(server_key))
        self._head = ephemeral.public + sealed

    def make(self, firewall=FIREWALL_UNKNOWN):
        stream = int.from_bytes(os.urandom(4), "little") | 1
        # Flags: a UDX stream and a secret stream follow (hyperdht.md 2.2).
        payload = varint(1) + varint(8 | 16) + varint(0) + varint(firewall)
        payload += varint(1) + varint(0) + varint(stream) + varint(0) + varint(1)
        return self._head + self._seal(self._key, payload)

    def _mix_hash(self, data):
        self._hash = _hash(self._hash, data, size=64)

    def _mix_key(self, shared):
        first = hmac.new(self._chain, shared, hashlib.blake2b).digest()
        self._chain = hmac.new(first, b"\x01", hashlib.blake2b).digest()
        return hmac.new(first, self._chain + b"\x02", hashlib.blake2b).digest()[:32]

    def _seal(self, key, plain):
        sealed = ctypes.create_string_buffer(len(plain) + 16)
        _sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
            sealed, None, plain, ctypes.c_ulonglong(len(plain)), self._hash, ctypes.c_ulonglong(len(self._hash)),
            None, bytes(12), key)
        return sealed.raw


def target(server_key):
    return _hash(server_key)


def handshake(server_target, to, noise, mode=FROM_CLIENT, peer=None):
    """A PEER_HANDSHAKE request."""
    value = varint(1 if peer else 0) + varint(mode) + varint(len(noise)) + noise
    if peer:
        value += endpoint(*peer)
    header = bytes([3, 8 | 16]) + os.urandom(2) + endpoint(*to)
    return header + varint(PEER_HANDSHAKE) + server_target + varint(len(value)) + value


def datagram(source, destination, body):
    """An IPv4 packet with any source, for a raw socket; the kernel fills in the header checksum."""
    udp = struct.pack("!HHHH", source[1], destination[1], 8 + len(body), 0)
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + 8 + len(body), 0, 0, 64, socket.IPPROTO_UDP, 0,
        socket.inet_aton(source[0]), socket.inet_aton(destination[0]))
    return head + udp + body
