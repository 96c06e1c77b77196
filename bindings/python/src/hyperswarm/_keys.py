"""Key pairs, hashes, texts of keys."""

from __future__ import annotations

import ctypes
from typing import Any, Callable, Iterable, NamedTuple, Optional

from ._errors import check
from ._library import Buffer, KEY_SIZE, SECRET_KEY_SIZE, SEED_SIZE, library, plain


class KeyPair(NamedTuple):
    """An identity. `secret_key` is the seed, then the public key."""

    public_key: bytes
    secret_key: bytes

    @classmethod
    def generate(cls) -> KeyPair:
        """A fresh one, from the system's random source."""
        return cls._made(lambda public, secret: library.key_pair_generate(public, secret))

    @classmethod
    def from_seed(cls, seed: Buffer) -> KeyPair:
        """The same seed, the same keys."""
        seed = plain(seed)
        if len(seed) != SEED_SIZE:
            raise ValueError(f"a seed has {SEED_SIZE} bytes")
        return cls._made(lambda public, secret: library.key_pair_from_seed(public, secret, seed))

    @classmethod
    def _made(cls, make: Callable[[Any, Any], int]) -> KeyPair:
        public, secret = ctypes.create_string_buffer(KEY_SIZE), ctypes.create_string_buffer(SECRET_KEY_SIZE)
        check(make(public, secret))
        return cls(public.raw, secret.raw)

    def __repr__(self) -> str:
        return f"KeyPair({to_zbase32(self.public_key)})"


def hash(data: Buffer) -> bytes:
    """BLAKE2b-256: topics made from names, and what immutable values are stored under."""
    data = plain(data)
    made = ctypes.create_string_buffer(KEY_SIZE)
    check(library.hash(data, len(data), made))
    return made.raw


def topic(name: str) -> bytes:
    """The topic of a name: the hash of its UTF-8."""
    return hash(name.encode())


def to_hex(key: bytes) -> str:
    """64 hexadecimal digits."""
    return key32(key).hex()


def to_zbase32(key: bytes) -> str:
    """52 characters of z-base-32: the form that people pass on."""
    made = ctypes.create_string_buffer(53)
    check(library.key_to_zbase32(key32(key), made))
    return made.value.decode()


def parse_key(text: str) -> bytes:
    """The key that a text names: hexadecimal digits, z-base-32, or a `pear://` link with either."""
    made = ctypes.create_string_buffer(KEY_SIZE)
    check(library.key_parse(text.encode(), made))
    return made.raw


def key32(key: bytes) -> bytes:
    """A key whose length is right: the library reads as many bytes as a key has."""
    key = plain(key)
    if len(key) != KEY_SIZE:
        raise ValueError(f"a key has {KEY_SIZE} bytes, this one {len(key)}")
    return key


def secret(pair: Optional[KeyPair]) -> Optional[bytes]:
    if pair is None:
        return None
    made = plain(pair.secret_key)
    if len(made) != SECRET_KEY_SIZE:
        raise ValueError(f"a secret key has {SECRET_KEY_SIZE} bytes")
    return made


def joined(keys: Iterable[bytes]) -> bytes:
    return b"".join(key32(key) for key in keys)
