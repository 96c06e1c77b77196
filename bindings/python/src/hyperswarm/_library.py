"""The shared library as ctypes sees it: constants, structs and functions of `hyperswarm.h`, by the same names.

Structs begin with `size`. Those that programs fill have the fields that these bindings know; the library takes every
size from that of its first version on.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from ctypes import (
    CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int32, c_int64, c_size_t, c_ubyte, c_uint, c_uint8, c_uint16,
    c_uint32, c_uint64, c_void_p)
from typing import Any, Tuple, Type, Union

KEY_SIZE = 32
SEED_SIZE = 32
SECRET_KEY_SIZE = 64
HASH_SIZE = 64
SIGNATURE_SIZE = 64
MAX_MESSAGE = 16777198
MAX_VALUE = 1024
WRITE_HIGH_WATER = 1 << 20

OK = 0
ERR_INVALID_ARGUMENT = -2
ERR_CLOSED = -6
ERR_QUEUE_FULL = -8
ERR_NOT_OPEN = -9
ERR_NOT_FOUND = -11

ACCEPT, REFUSE, BAN = 0, 1, 2
SERVER, CLIENT = 1, 2
NODE_PERMANENT, NODE_EPHEMERAL, NODE_REACHABLE, NODE_EXACT_PORT, NODE_LOW_POWER = 1, 2, 4, 8, 16
CONNECT_NO_HOLEPUNCH = 1
SERVER_NO_HOLEPUNCH, SERVER_RELAY, SERVER_NO_LOCAL_ADDRESS = 1, 2, 4
LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG = 1, 2, 3, 4


# What takes part in the protocol of buffers.
Buffer = Union[bytes, bytearray, memoryview]


class Sized(Structure):
    """A struct that begins with its own size. ctypes takes names that are no fields, and cuts numbers to what fits."""

    def __init__(self, **fields: Any) -> None:
        names = [field[0] for field in self._fields_]
        for name in fields:
            if name not in names:
                raise TypeError(f"there is no {name} here")
        super().__init__(size=ctypes.sizeof(type(self)), **fields)
        for name, value in fields.items():
            if isinstance(value, int) and getattr(self, name) != value:
                raise OverflowError(f"{name} cannot be {value}")


Bytes = POINTER(c_ubyte)


class PeerInfo(Structure):
    _fields_ = [
        ("size", c_size_t), ("public_key", Bytes), ("topics", Bytes), ("topic_count", c_size_t),
        ("attempts", c_uint32), ("is_client", c_uint8), ("is_proven", c_uint8), ("is_banned", c_uint8),
        ("is_explicit", c_uint8), ("is_queued", c_uint8), ("is_waiting", c_uint8), ("is_connected", c_uint8),
        ("relay_addresses", c_char_p)]


class Event(Structure):
    _fields_ = [
        ("size", c_size_t), ("kind", c_int32), ("status", c_int32), ("public_key", Bytes), ("text", c_char_p),
        ("address", c_char_p), ("next_retry", c_int64)]


OnConnection = CFUNCTYPE(None, c_void_p, c_void_p, POINTER(PeerInfo), c_void_p)
OnEvent = CFUNCTYPE(None, c_void_p, POINTER(Event), c_void_p)
OnFirewall = CFUNCTYPE(None, c_void_p, c_void_p, Bytes, c_char_p, c_void_p)
OnLog = CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_void_p)


class Options(Sized):
    _fields_ = [
        ("size", c_size_t), ("loop", c_void_p), ("secret_key", c_char_p), ("bootstrap", c_char_p), ("host", c_char_p),
        ("port", c_uint16), ("flags", c_uint16), ("keep_alive", c_int32), ("max_peers", c_uint32),
        ("max_parallel", c_uint32), ("max_connections", c_uint32), ("max_client_connections", c_uint32),
        ("max_server_connections", c_uint32), ("relays", c_char_p), ("relay_count", c_size_t),
        ("on_connection", OnConnection), ("firewall", c_void_p), ("user_data", c_void_p), ("on_network", c_void_p),
        ("max_message_size", c_size_t), ("on_event", OnEvent), ("on_firewall", OnFirewall), ("on_log", OnLog),
        ("log_level", c_int32), ("reserved", c_uint32), ("nodes", c_char_p), ("known_address", c_char_p),
        ("qlog", c_char_p)]


class JoinOptions(Sized):
    _fields_ = [("size", c_size_t), ("roles", c_uint32), ("limit", c_uint32)]


class TopicInfo(Structure):
    _fields_ = [
        ("size", c_size_t), ("topic", Bytes), ("roles", c_uint32), ("limit", c_uint32), ("peers", c_uint32),
        ("connections", c_uint32), ("is_announced", c_uint32), ("reserved", c_uint32)]


class Statistics(Structure):
    _fields_ = [
        ("size", c_size_t), *((name, c_uint64) for name in (
            "nodes", "topics", "peers", "connecting", "client_connections", "server_connections", "streams")),
        *((name, c_uint8) for name in (
            "is_bootstrapped", "is_online", "is_ephemeral", "is_firewalled", "is_suspended", "is_offline")),
        *((name, c_uint64) for name in (
            "dials_attempted", "dials_opened", "accepted", "refused_by_firewall", "refused_by_limit", "bytes_sent",
            "bytes_received", "packets_sent", "packets_received", "retransmissions")),
        ("remote_address", c_char_p), ("local_address", c_char_p), *((name, c_uint64) for name in (
            "is_randomized", "is_degraded", "queued", "waiting", "servers", "active_requests", "active_queries",
            "connections_closed", "connects_started", "connects_opened", "connects_failed", "handshakes_received"))]


class Path(Structure):
    _fields_ = [("size", c_size_t), ("remote_address", c_char_p), ("is_relayed", c_int), ("changes", c_uint32)]


ConnectionDone = CFUNCTYPE(None, c_void_p, c_void_p)
ConnectionBytes = CFUNCTYPE(None, c_void_p, POINTER(c_ubyte), c_size_t, c_void_p)
ConnectionStatus = CFUNCTYPE(None, c_void_p, c_int, c_void_p)
ConnectionPath = CFUNCTYPE(None, c_void_p, POINTER(Path), c_void_p)


class ConnectionCallbacks(Sized):
    _fields_ = [
        ("size", c_size_t), ("on_open", ConnectionDone), ("on_message", ConnectionBytes),
        ("on_datagram", ConnectionBytes), ("on_drain", ConnectionDone), ("on_end", ConnectionDone),
        ("on_close", ConnectionStatus), ("user_data", c_void_p), ("on_peer_proven", ConnectionDone),
        ("on_path", ConnectionPath)]


class ConnectOptions(Sized):
    _fields_ = [
        ("size", c_size_t), ("secret_key", c_char_p), ("relay_addresses", c_char_p), ("relays", c_char_p),
        ("relay_count", c_size_t), ("deadline", c_uint32), ("flags", c_uint32)]


class ConnectionStatistics(Structure):
    _fields_ = [
        ("size", c_size_t), ("remote_address", c_char_p), ("round_trip_time", c_uint32), ("mtu", c_uint32),
        ("congestion_window", c_uint32), *((name, c_uint64) for name in (
            "bytes_in_flight", "bytes_queued", "bytes_sent", "bytes_received", "packets_sent", "packets_received",
            "retransmissions", "messages_sent", "messages_received")),
        ("is_relayed", c_int), ("path_changes", c_uint32)]


class RelayLimits(Sized):
    _fields_ = [
        ("size", c_size_t), *((name, c_uint32) for name in (
            "clients", "clients_per_key", "clients_per_host", "connections", "connections_per_client", "requests",
            "requests_per_client", "requests_per_host")),
        *((name, c_uint64) for name in (
            "connection_bytes_per_second", "bytes_per_second", "connection_bytes"))]


ServerStatus = CFUNCTYPE(None, c_void_p, c_int, c_void_p)
ServerConnection = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)
ServerDone = CFUNCTYPE(None, c_void_p, c_void_p)


class ServerOptions(Sized):
    _fields_ = [
        ("size", c_size_t), ("secret_key", c_char_p), ("relays", c_char_p), ("relay_count", c_size_t),
        ("flags", c_uint32), ("on_listening", ServerStatus), ("on_connection", ServerConnection),
        ("firewall", c_void_p), ("on_close", ServerDone), ("user_data", c_void_p), ("on_firewall", OnFirewall),
        ("relay_limits", POINTER(RelayLimits))]


class Record(Structure):
    _fields_ = [
        ("size", c_size_t), ("public_key", Bytes), ("relay_addresses", c_char_p), ("from_address", c_char_p)]


class AnnounceOptions(Sized):
    _fields_ = [("size", c_size_t), ("secret_key", c_char_p), ("relay_addresses", c_char_p)]


class Value(Structure):
    _fields_ = [
        ("size", c_size_t), ("key", Bytes), ("data", Bytes), ("length", c_size_t), ("sequence", c_uint64),
        ("signature", Bytes), ("stored", c_uint32)]


class Node(Structure):
    _fields_ = [("size", c_size_t), ("id", Bytes), ("address", c_char_p)]


class Pong(Structure):
    _fields_ = [
        ("size", c_size_t), ("id", Bytes), ("address", c_char_p), ("seen_address", c_char_p),
        ("round_trip_time", c_uint64)]


Done = CFUNCTYPE(None, c_void_p, c_int, c_void_p)
Gone = CFUNCTYPE(None, c_void_p)
EachRecord = CFUNCTYPE(c_int, c_void_p, POINTER(Record), c_void_p)
EachPeer = CFUNCTYPE(None, c_void_p, POINTER(PeerInfo), c_void_p)
EachTopic = CFUNCTYPE(None, c_void_p, POINTER(TopicInfo), c_void_p)
EachNode = CFUNCTYPE(None, c_void_p, POINTER(Node), c_void_p)
OnStatistics = CFUNCTYPE(None, c_void_p, POINTER(Statistics), c_void_p)
OnConnectionStatistics = CFUNCTYPE(None, c_void_p, POINTER(ConnectionStatistics), c_void_p)
OnText = CFUNCTYPE(None, c_void_p, c_char_p, c_void_p)
OnValue = CFUNCTYPE(None, c_void_p, c_int, POINTER(Value), c_void_p)
OnPong = CFUNCTYPE(None, c_void_p, c_int, POINTER(Pong), c_void_p)
OnReady = CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_void_p)

_key = c_char_p
_operation = (Done, c_void_p)
_handle = POINTER(c_void_p)

# Of every function: what it returns, and what it takes.
_functions: dict[str, Tuple[Any, Tuple[Any, ...]]] = {
    "version": (c_char_p, ()),
    "error_name": (c_char_p, (c_int,)),
    "strerror": (c_char_p, (c_int,)),
    "last_error_detail": (c_char_p, ()),
    "key_pair_generate": (c_int, (c_char_p, c_char_p)),
    "key_pair_from_seed": (c_int, (c_char_p, c_char_p, c_char_p)),
    "hash": (c_int, (c_char_p, c_size_t, c_char_p)),
    "key_to_hex": (c_int, (_key, c_char_p)),
    "key_to_zbase32": (c_int, (_key, c_char_p)),
    "key_parse": (c_int, (c_char_p, c_char_p)),
    "handle_count": (c_size_t, ()),
    "loop_create": (c_int, (_handle,)),
    "loop_fd": (c_int, (c_void_p,)),
    "loop_timeout": (c_int, (c_void_p,)),
    "process": (c_int, (c_void_p,)),
    "loop_destroy": (c_int, (c_void_p,)),
    "create": (c_int, (POINTER(Options), _handle)),
    "destroy": (c_int, (c_void_p, c_int, Gone, c_void_p)),
    "public_key": (c_int, (c_void_p, c_char_p)),
    "local_port": (c_int, (c_void_p, POINTER(c_uint16))),
    "bootstrapped": (c_int, (c_void_p, *_operation)),
    "join_with": (c_int, (c_void_p, _key, POINTER(JoinOptions), *_operation)),
    "leave": (c_int, (c_void_p, _key, *_operation)),
    "refresh": (c_int, (c_void_p, _key, *_operation)),
    "clear": (c_int, (c_void_p, *_operation)),
    "topics": (c_int, (c_void_p, EachTopic, *_operation)),
    "flush": (c_int, (c_void_p, c_uint64, *_operation)),
    "listen": (c_int, (c_void_p, *_operation)),
    "suspend": (c_int, (c_void_p, *_operation)),
    "resume": (c_int, (c_void_p, *_operation)),
    "peer_join": (c_int, (c_void_p, _key)),
    "peer_leave": (c_int, (c_void_p, _key)),
    "peer_ban": (c_int, (c_void_p, _key, c_int)),
    "peer_reconnect": (c_int, (c_void_p, _key, c_int)),
    "peers": (c_int, (c_void_p, EachPeer, *_operation)),
    "verdict_give": (c_int, (c_void_p, c_int)),
    "statistics": (c_int, (c_void_p, OnStatistics, c_void_p)),
    "metrics": (c_int, (c_void_p, OnText, c_void_p)),
    "last_operation": (c_uint64, ()),
    "cancel": (c_int, (c_void_p, c_uint64)),
    "ping": (c_int, (c_void_p, c_char_p, OnPong, c_void_p)),
    "find_node": (c_int, (c_void_p, _key, EachNode, *_operation)),
    "add_node": (c_int, (c_void_p, c_char_p)),
    "announce_with": (c_int, (c_void_p, _key, POINTER(AnnounceOptions), *_operation)),
    "unannounce": (c_int, (c_void_p, _key, c_char_p, *_operation)),
    "lookup": (c_int, (c_void_p, _key, EachRecord, *_operation)),
    "find_peer": (c_int, (c_void_p, _key, EachRecord, *_operation)),
    "immutable_put": (c_int, (c_void_p, c_char_p, c_size_t, OnValue, c_void_p)),
    "immutable_get": (c_int, (c_void_p, _key, OnValue, c_void_p)),
    "mutable_put": (c_int, (c_void_p, c_char_p, c_uint64, c_char_p, c_size_t, OnValue, c_void_p)),
    "mutable_get": (c_int, (c_void_p, _key, c_uint64, OnValue, c_void_p)),
    "connect": (
        c_int, (c_void_p, _key, POINTER(ConnectOptions), POINTER(ConnectionCallbacks), _handle)),
    "connection_set_callbacks": (c_int, (c_void_p, POINTER(ConnectionCallbacks))),
    "connection_remote_public_key": (c_int, (c_void_p, c_char_p)),
    "connection_is_peer_proven": (c_int, (c_void_p,)),
    "connection_handshake_hash": (c_int, (c_void_p, c_char_p)),
    "connection_is_initiator": (c_int, (c_void_p,)),
    "connection_reason": (c_int, (c_void_p, c_char_p, c_size_t)),
    "connection_write": (c_int64, (c_void_p, c_char_p, c_size_t, ConnectionStatus, c_void_p)),
    "connection_send_datagram": (c_int, (c_void_p, c_char_p, c_size_t)),
    "connection_pause": (c_int, (c_void_p,)),
    "connection_resume": (c_int, (c_void_p,)),
    "connection_end": (c_int, (c_void_p,)),
    "connection_destroy": (c_int, (c_void_p,)),
    "connection_set_keep_alive": (c_int, (c_void_p, c_uint32)),
    "connection_set_timeout": (c_int, (c_void_p, c_uint32)),
    "connection_statistics": (c_int, (c_void_p, OnConnectionStatistics, c_void_p)),
    "connection_timeline": (c_int, (c_void_p, OnText, c_void_p)),
    "server_listen": (c_int, (c_void_p, POINTER(ServerOptions), _handle)),
    "server_close": (c_int, (c_void_p,)),
    "server_public_key": (c_int, (c_void_p, c_char_p)),
    "server_refresh": (c_int, (c_void_p,)),
    "server_set_busy": (c_int, (c_void_p, c_int)),
    "server_relay_addresses": (c_int, (c_void_p, OnText, c_void_p)),
    "testnet_create": (c_int, (c_void_p, c_uint, OnReady, c_void_p, _handle)),
    "testnet_destroy": (c_int, (c_void_p, Gone, c_void_p)),
}


class Library:
    """`hyperswarm_NAME` as `library.NAME`."""

    def __init__(self) -> None:
        name = os.environ.get("HYPERSWARM_LIBRARY") or ctypes.util.find_library("hyperswarm") or "libhyperswarm.so.0"
        try:
            shared = ctypes.CDLL(name)
        except OSError as error:
            raise ImportError(f"no shared library: {error}; HYPERSWARM_LIBRARY may name its file") from error
        for function, (result, arguments) in _functions.items():
            entry = getattr(shared, "hyperswarm_" + function, None)
            if entry is None:
                raise ImportError(f"{name} is older than these bindings: it has no hyperswarm_{function}")
            entry.restype, entry.argtypes = result, arguments
            setattr(self, function, entry)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


library = Library()
Struct = Type[Structure]


def plain(data: Buffer) -> bytes:
    """What is bytes, or like them; of a number `bytes` would make as many zeros."""
    return data if isinstance(data, bytes) else bytes(memoryview(data))


def unsigned(value: int, bits: int) -> int:
    """A number that fits: ctypes cuts others."""
    if not 0 <= value < 1 << bits:
        raise OverflowError(f"{value} is not a number from 0 to 2^{bits} - 1")
    return value


def octets(pointer: Any, count: int) -> bytes:
    """Bytes that are only there during a callback."""
    return ctypes.string_at(pointer, count) if pointer else b""


def text(value: bytes | None) -> str:
    return value.decode("utf-8", "replace") if value else ""
