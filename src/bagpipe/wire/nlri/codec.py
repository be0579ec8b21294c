"""What the NLRI of every family can do: RFC 4760 section 5 split into key and payload.

A route is (shape, key, payload). The key is what the family's RFC says identifies the route; the payload is the rest,
so that both give the NLRI back. A shape splits a family into tables whose keys mean the same (the VPN families use the
length octet, all others 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from bagpipe.wire.family import Family

Payload = int | bytes


class Nlri(Protocol):
    """One route's NLRI as a frozen value; its str() is the text form for people."""

    def __str__(self) -> str: ...


class Codec(Protocol):
    """The NLRI of one family between wire, table and people.

    ``Any`` stands for the payload and value types of the family: a codec is only ever given what it made itself.
    """

    family: Family

    def split(self, data: bytes) -> Sequence[tuple[int, Sequence[bytes], Sequence[Payload]]]:
        """The routes of an MP_REACH_NLRI field in order, as runs of (shape, keys, payloads).

        Raises RemoteFault (reset, code 3 subcode 10) if the field cannot be told apart into routes (RFC 7606 5.3).
        """
        ...

    def split_withdrawn(self, data: bytes) -> Sequence[tuple[int, Sequence[bytes]]]:
        """The routes of an MP_UNREACH_NLRI field as runs of (shape, keys). Raises as :meth:`split`."""
        ...

    def split_add_path(self, data: bytes) -> Sequence[tuple[int, int, bytes, Payload]]:
        """The routes of an announced or withdrawn field with path identifiers (RFC 7911 section 3).

        Each is (path identifier, shape, key, payload). Raises as :meth:`split`.
        """
        ...

    def join(self, shape: int, key: bytes, payload: Any) -> bytes:
        """One NLRI as announced."""
        ...

    def join_many(self, shape: int, keys: Sequence[bytes], payloads: Sequence[Any]) -> Sequence[bytes]:
        """Many NLRI of one shape as announced."""
        ...

    def join_withdrawn(self, shape: int, key: bytes) -> bytes:
        """One NLRI as withdrawn, from the key alone."""
        ...

    def decode(self, shape: int, key: bytes, payload: Any) -> Nlri:
        """The route as a value."""
        ...

    def encode(self, nlri: Any) -> tuple[int, bytes, Payload]:
        """Shape, key and payload of a value."""
        ...

    def route_distinguisher(self, shape: int, key: bytes) -> bytes | None:
        """The 8 octets of the route distinguisher; None if the family has none, or the route is of a kind without."""
        ...
