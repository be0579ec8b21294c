"""The calls of networking-bagpipe's agents: ``/attach_localport`` and ``/detach_localport``.

Success (200 and ``null``) is said once the dataplane has confirmed. What it refuses is 500, what it does not answer in
time 503, with the reason; the attachment, or its end, stays desired in both cases and is tried again. A detach that is
asked again meanwhile waits again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NoReturn

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from bagpipe.daemon.attach_v1 import KEPT, Detachment, Rejected, read_attach, read_detach
from bagpipe.daemon.field_values import json_value
from bagpipe.daemon.forwarding import Forwarding
from bagpipe.daemon.http_errors import error
from bagpipe.daemon.statements import Place, statement_v1
from bagpipe.dataplane.model import Key
from bagpipe.errors import LocalMisuse
from bagpipe.vpn.vrf import Vrf

_REFERENCE_TEXTS = (
    "Port information is not consistent",
    "Inconsistent endpoint info",
    "Unsupported direction",
)


def add_v1(app: FastAPI, forwarding: Forwarding, timeout: float) -> None:
    """Add the calls. ``timeout``: seconds to wait for the dataplane."""

    async def nothing() -> dict[str, str]:
        return {}

    async def attach(request: Request) -> Response:
        body = await _body(request)
        attachment = read_attach(body)
        kept = {name: body[name] for name in KEPT if name in body}
        try:
            changed = forwarding.put([statement_v1(attachment, kept)])
        except LocalMisuse as misuse:
            raise _in_words_of_reference(misuse) from misuse
        return _answer(await forwarding.settle(changed, timeout), forwarding, "plug to")

    async def detach(request: Request) -> Response:
        asked = read_detach(await _body(request))
        changed = forwarding.remove(_named(forwarding, asked))
        return _answer(await forwarding.settle(changed, timeout), forwarding, "unplug from")

    for path, handler, text in (
        ("/attach_localport", attach, "Attach an endpoint (networking-bagpipe)"),
        ("/detach_localport", detach, "Detach an endpoint (networking-bagpipe)"),
    ):
        app.add_api_route(path, nothing, methods=["GET"], include_in_schema=False)
        app.add_api_route(path, handler, methods=["POST"], summary=text, response_model=None)


async def _body(request: Request) -> dict[str, object]:
    """The body, an object that is not empty. Raises LocalMisuse."""

    def no_number(text: str) -> NoReturn:
        raise ValueError(text)

    try:
        body = json.loads(await request.body(), parse_constant=no_number)
    except (ValueError, RecursionError) as fault:
        raise Rejected("body", None, "No local port details received") from fault
    if not isinstance(body, dict) or not body:
        raise Rejected("body", None, "No local port details received")
    json_value(body, "body")
    return body


def _named(forwarding: Forwarding, asked: Detachment) -> list[str]:
    """The statements that a detach names. Raises LocalMisuse."""
    leaving = forwarding.attachments.departures.of_endpoint(asked.external_id, asked.key)
    instance = forwarding.vpns.find(asked.external_id)
    if leaving and instance is None:
        return [one.id for one in leaving]
    if instance is None or (isinstance(instance, Vrf) and instance.redirect_target is not None):
        text = f"VPN {asked.external_id} could not be found"
        raise Rejected("vpn_instance_id", asked.external_id, text)
    places: list[Place] = [(asked.external_id, asked.key)]
    if asked.key.ip is None:
        places = [(asked.external_id, key) for key in instance.endpoints if key.mac == asked.key.mac]
    found = [holder for place in places if (holder := forwarding.attachments.holder(place)) is not None]
    if not found and leaving:
        return [one.id for one in leaving]
    if not found:
        shown = f"{asked.key.mac} {asked.key.ip or ''}".strip()
        raise Rejected("mac_address", str(asked.key.mac), f"Endpoint {shown} is not plugged to {asked.external_id}")
    for holder in found:
        if holder.api != 1:
            raise Rejected("mac_address", str(asked.key.mac), f"it is attached by /v2 as {holder.id}")
    return [holder.id for holder in found]


def _in_words_of_reference(misuse: LocalMisuse) -> LocalMisuse:
    """A fault for which the reference has a text, with that text."""
    if misuse.field == "vni" and misuse.reason.endswith("uses it"):
        return Rejected("vni", misuse.value, f"A VPN instance using vni {misuse.value} already exists.")
    if isinstance(misuse, Rejected) or not misuse.reason.startswith(_REFERENCE_TEXTS):
        return misuse
    text = misuse.reason if misuse.field != "direction" else f"{misuse.reason}: {misuse.value}"
    return Rejected(misuse.field, misuse.value, text)


def _answer(open_records: Mapping[Key, str], forwarding: Forwarding, what: str) -> Response:
    if not open_records:
        return JSONResponse(None)
    refused = [key for key in open_records if key in forwarding.plane_of(key).tracker.refused]
    key = next(iter(refused or open_records))
    text = f"An error occurred during local port {what} VPN: {key}: {open_records[key]}; it is tried again"
    return error(500 if refused else 503, text)
