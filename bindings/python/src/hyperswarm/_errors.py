"""What goes wrong."""

from __future__ import annotations

from typing import Any, Tuple

from ._library import OK, library


class HyperswarmError(Exception):
    """A call, or what it began, has failed: `code` is a number of `hyperswarm_errors.h`, `name` its name."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self._reason = reason
        self.name: str = library.error_name(code).decode()
        super().__init__(f"{self.name}: {reason or library.strerror(code).decode()}")

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.code, self._reason)


def check(status: int) -> int:
    """The result of a call that is no error."""
    if status < OK:
        raise HyperswarmError(status, library.last_error_detail().decode())
    return status
