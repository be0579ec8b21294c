"""/v2 for agents and people: attachments by name and owner, VPN instances, why packets go where they go.

An attachment is stated, not commanded: putting it again changes what differs. The answer has its state at the end of
``wait`` seconds. A body that is wrong anywhere changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from bagpipe.daemon import field_values as values
from bagpipe.daemon import vpn_glass
from bagpipe.daemon.attachments import within
from bagpipe.daemon.bodies_v2 import AttachmentBody, OwnerBody, OwnerChangeBody
from bagpipe.daemon.forwarding import Forwarding
from bagpipe.daemon.http_errors import error
from bagpipe.daemon.pieces import in_pieces
from bagpipe.daemon.statements import Statement, statement_v2
from bagpipe.dataplane.errors import DataplaneError
from bagpipe.dataplane.model import Address, Key
from bagpipe.errors import LocalMisuse

DEFAULT_WAIT = 10.0
LONGEST_WAIT = 600.0
Wait = Query(DEFAULT_WAIT, ge=0, le=LONGEST_WAIT, description="seconds to wait for the dataplane")


def add_v2(app: FastAPI, forwarding: Forwarding) -> None:
    """Add the paths."""
    _add_attachments(app, forwarding)
    _add_owners(app, forwarding)
    _add_questions(app, forwarding)


def _add_attachments(app: FastAPI, forwarding: Forwarding) -> None:
    stated = forwarding.attachments.stated

    @app.get("/v2/attachments", summary="All attachments, or those of one owner")
    async def listed(owner: str | None = None) -> Response:
        found = [one for one in stated.values() if owner is None or one.owner == owner]
        return JSONResponse({"attachments": [attachment_view(forwarding, one) for one in found]})

    @app.get("/v2/attachments/{name:path}", summary="One attachment")
    async def one(name: str) -> Response:
        return _known(forwarding, name) or JSONResponse(attachment_view(forwarding, stated[name]))

    @app.put("/v2/attachments/{name:path}", summary="Attach, or change how it is attached")
    async def put(name: str, body: AttachmentBody, wait: float = Wait) -> Response:
        statement = statement_v2(name, body.plain())
        await forwarding.settle(forwarding.put([statement]), wait)
        if name not in stated:
            return error(404, f"{name} was removed meanwhile")
        return JSONResponse(attachment_view(forwarding, stated[name]))

    @app.delete("/v2/attachments/{name:path}", summary="Detach")
    async def delete(name: str, wait: float = Wait) -> Response:
        unknown = _known(forwarding, name)
        if unknown is not None and forwarding.attachments.departures.get(name) is None:
            return unknown
        left = await forwarding.settle(forwarding.remove([name]), wait)
        return JSONResponse({"id": name, **_removal(left)}, HTTPStatus.ACCEPTED if left else HTTPStatus.OK)


def _known(forwarding: Forwarding, name: str) -> Response | None:
    """None if there is such an attachment, else the answer."""
    if name in forwarding.attachments.stated:
        return None
    return error(404, f"there is no attachment {name}", field="id", value=name)


def _removal(left: Mapping[Key, str]) -> dict[str, object]:
    """Whether what was removed is gone from the dataplane."""
    for key, reason in left.items():
        return {"state": "pending", "reason": f"{key}: {reason}"}
    return {"state": "removed", "reason": None}


def _add_owners(app: FastAPI, forwarding: Forwarding) -> None:
    attachments = forwarding.attachments

    def view(owner: str) -> dict[str, object]:
        return {"attachments": {one.id: attachment_view(forwarding, one) for one in attachments.of_owner(owner)}}

    @app.get("/v2/owners/{owner}/attachments", summary="All that an owner attaches")
    async def held(owner: str) -> Response:
        return JSONResponse(view(owner))

    @app.put("/v2/owners/{owner}/attachments", summary="Replace all that an owner attaches")
    async def replace(owner: str, body: OwnerBody, wait: float = Wait) -> Response:
        values.text(owner, "owner")
        put = [_owned(owner, name, one.plain()) for name, one in body.attachments.items()]
        left = await forwarding.settle(forwarding.replace_owner(owner, put), wait)
        return JSONResponse({**view(owner), **_leaving(forwarding, left)})

    @app.patch("/v2/owners/{owner}/attachments", summary="Change some of what an owner attaches")
    async def amend(owner: str, body: OwnerChangeBody, wait: float = Wait) -> Response:
        values.text(owner, "owner")
        put = [_owned(owner, name, one.plain()) for name, one in body.attachments.items() if one is not None]
        remove = [name for name, one in body.attachments.items() if one is None]
        left = await forwarding.settle(forwarding.amend_owner(owner, put, remove), wait)
        told = {one.id: attachments.stated.get(one.id) for one in put}
        views = {name: None if one is None else attachment_view(forwarding, one) for name, one in told.items()}
        return JSONResponse({"attachments": {**views, **dict.fromkeys(remove)}, **_leaving(forwarding, left)})


def _leaving(forwarding: Forwarding, left: Mapping[Key, str]) -> dict[str, object]:
    """Those that a change has removed and that are not known to be gone, with the reason; nothing if there are none."""
    told = {
        one.statement.id: f"{key}: {left[key]}"
        for one in forwarding.attachments.departures
        for key in one.keys
        if key in left
    }
    return {"leaving": told} if told else {}


def _owned(owner: str, name: str, body: dict[str, Any]) -> Statement:
    """The statement of one entry of an owner's list. Raises LocalMisuse with the path of the entry."""
    try:
        if body.get("owner", owner) != owner:
            raise LocalMisuse("owner", body["owner"], f"not {owner!r}, whose list this is")
        return statement_v2(name, {**body, "owner": owner})
    except LocalMisuse as misuse:
        raise within(name, misuse) from misuse


def attachment_view(forwarding: Forwarding, statement: Statement) -> dict[str, object]:
    """An attachment: its state, its identifiers, and what was asked for."""
    state, reason = forwarding.state_of(statement)
    first = statement.endpoints[0]
    endpoints = []
    for place, attachment in statement.places.items():
        told = forwarding.instances.endpoint_state(*place)
        reserved = forwarding.attachments.reserved[place]
        endpoints.append(
            {
                "mac": str(attachment.key.mac),
                "ip": None if attachment.key.ip is None else str(attachment.key.ip),
                "label": reserved.label or None,
                "state": told.state,
                "reason": told.reason or None,
            }
        )
    return {
        "id": statement.id,
        "owner": statement.owner,
        "api": statement.api,
        "instance": first.instance.external_id,
        "type": first.instance.type.value,
        "state": state,
        "reason": reason or None,
        "label": endpoints[0]["label"],
        "port": first.port.name,
        "direction": first.direction.value,
        "description": first.description,
        "endpoints": endpoints,
        "stated": dict(statement.body),
    }


def _add_questions(app: FastAPI, forwarding: Forwarding) -> None:
    instances = forwarding.instances.instances

    @app.get("/v2/instances", summary="The VPN instances")
    async def listed() -> Response:
        return JSONResponse({"instances": [vpn_glass.short(forwarding, vrf) for vrf in instances.values()]})

    @app.get("/v2/instances/{name:path}", summary="One VPN instance: its endpoints, its routes, what won and why")
    async def one(name: str) -> Response:
        if name not in instances:
            return error(404, f"there is no VPN instance {name}", field="instance", value=name)
        head = json.dumps(vpn_glass.whole(forwarding, instances[name])).removesuffix("}") + ', "routes": ['
        routes = vpn_glass.routes(forwarding, instances[name])
        return StreamingResponse(in_pieces(head, routes, "]}\n"), media_type="application/json")

    @app.get("/v2/explain", summary="Why packets to an address go where they go, or nowhere")
    async def explain(instance: str, destination: str) -> Response:
        address = values.address(destination, "destination")
        if instance not in instances:
            return error(404, f"there is no VPN instance {instance}", field="instance", value=instance)
        return JSONResponse(await _explained(forwarding, instance, address))

    @app.get("/v2/audit", summary="Every difference between what the dataplane should hold and what it holds")
    async def audit() -> Response:
        desired = dict(forwarding.tracker.desired)
        try:
            differences = await forwarding.driver.audit(desired)
        except DataplaneError as fault:
            return error(503, f"the dataplane cannot be read: {fault}")
        told = [
            {"kind": one.kind, "record": None if one.key is None else str(one.key), "text": one.text}
            for one in differences
        ]
        return JSONResponse({"desired": len(desired), "differences": told})


async def _explained(forwarding: Forwarding, instance: str, destination: Address) -> dict[str, object]:
    found = forwarding.instances.lookup(instance, destination)
    missing = [found.why] if found.why and found.key is None else []
    carried: dict[str, object] | None = None
    record: dict[str, object] | None = None
    if found.key is not None:
        reason = forwarding.programmer.reason(found.key)
        state = "in-effect" if reason is None else "refused" if found.key in forwarding.tracker.refused else "pending"
        record = {"record": str(found.key), "state": state, "reason": reason}
        if reason is not None:
            missing.append(reason)
        value = forwarding.tracker.desired.get(found.key)
        if value is not None:
            try:
                told = await asyncio.wait_for(forwarding.driver.carried(found.key, value), DEFAULT_WAIT)
                carried = {
                    "parts": list(told.parts),
                    "counters": dict(told.counters),
                    "neighbours": dict(told.neighbours),
                }
                missing += told.missing
            except DataplaneError as fault:
                missing.append(f"the dataplane cannot be read: {fault}")
            except TimeoutError:
                missing.append("the dataplane cannot be read: no answer")
    down = [peer.name for peer in forwarding.speaker.peers.values() if peer.negotiated is None]
    missing += [f"the session with {name} is down" for name in down]
    return {
        "instance": found.instance,
        "number": found.number,
        "destination": str(found.destination),
        "prefix": None if found.prefix is None else str(found.prefix),
        "why": found.why or None,
        "next_hops": [str(hop) for hop in found.next_hops],
        "candidates": [asdict(one) for one in found.candidates],
        "programmed": record,
        "carried": carried,
        "missing": list(dict.fromkeys(missing)),
    }
