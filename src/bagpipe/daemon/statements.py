"""A statement: what an agent asked for under one name, by either API, and the endpoints that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bagpipe.daemon.attach_v2 import owner_of, read_statement
from bagpipe.vpn.attachment import Attachment, EndpointKey

Place = tuple[str, EndpointKey]
"""An endpoint: its instance's external id, and its key there."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What was asked for under one name, by the API of this number (1 or 2), and the endpoints that it makes.

    ``created`` and ``changed`` are places in the order of statements, 0 while it was not accepted yet.
    """

    id: str
    owner: str
    api: int
    body: Mapping[str, object]
    endpoints: tuple[Attachment, ...]
    created: int = 0
    changed: int = 0

    @property
    def places(self) -> dict[Place, Attachment]:
        """Its endpoints."""
        return {(one.instance.external_id, one.key): one for one in self.endpoints}


def statement_v1(attachment: Attachment, body: Mapping[str, object]) -> Statement:
    """The statement of a v1 attach."""
    return Statement(attachment.name, "", 1, body, (attachment,))


def statement_v2(name: str, body: Mapping[str, object]) -> Statement:
    """The statement of a v2 body. Raises LocalMisuse."""
    return Statement(name, owner_of(body), 2, body, read_statement(name, body))
