"""/v2 for agents and people: attachments by name and owner, VPN instances, why packets go where they go.

An attachment is stated, not commanded: putting it again changes what differs. The answer has its state at the end of
``wait`` seconds. A body that is wrong anywhere changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from bagpipe.daemon import field_values as values
from bagpipe.daemon import vpn_glass
from bagpipe.daemon.attachments import within
from bagpipe.daemon.bodies_v2 import AttachmentBody, OwnerBody, OwnerChangeBody
from bagpipe.daemon.explained import explain_frames, explain_packets
from bagpipe.daemon.forwarding import Forwarding
from bagpipe.daemon.http_errors import error
from bagpipe.daemon.pieces import in_pieces
from bagpipe.daemon.statements import Statement, statement_v2
from bagpipe.dataplane.errors import DataplaneError
from bagpipe.dataplane.model import Key
from bagpipe.errors import LocalMisuse
from bagpipe.vpn.evpn.evi import Evi

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
        told = forwarding.vpns.endpoint_state(*place)
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
    vpns = forwarding.vpns

    @app.get("/v2/instances", summary="The VPN instances")
    async def listed() -> Response:
        return JSONResponse({"instances": [vpn_glass.short(forwarding, each) for each in vpns.all()]})

    @app.get("/v2/instances/{name:path}", summary="One VPN instance: its endpoints, its routes, what won and why")
    async def one(name: str) -> Response:
        found = vpns.find(name)
        if found is None:
            return error(404, f"there is no VPN instance {name}", field="instance", value=name)
        head = json.dumps(vpn_glass.whole(forwarding, found)).removesuffix("}") + ', "routes": ['
        routes = vpn_glass.routes(forwarding, found)
        return StreamingResponse(in_pieces(head, routes, "]}\n"), media_type="application/json")

    @app.get("/v2/explain", summary="Why packets to an address go where they go, or nowhere")
    async def explain(instance: str, destination: str) -> Response:
        found = vpns.find(instance)
        if isinstance(found, Evi):
            target = values.mac_or_address(destination, "destination")
            return JSONResponse(await explain_frames(forwarding, instance, target))
        address = values.address(destination, "destination")
        if found is None:
            return error(404, f"there is no VPN instance {instance}", field="instance", value=instance)
        return JSONResponse(await explain_packets(forwarding, instance, address))

    @app.get("/v2/audit", summary="Every difference between what the dataplane should hold and what it holds")
    async def audit() -> Response:
        desired = 0
        told: list[dict[str, object]] = []
        others: list[dict[str, object]] = []
        for plane in forwarding.planes:
            records = dict(plane.tracker.desired)
            desired += len(records)
            try:
                differences = await plane.driver.audit(records)
                foreign = await plane.driver.foreign(records)
            except DataplaneError as fault:
                return error(503, f"the {plane.name} dataplane cannot be read: {fault}")
            told += [
                {"kind": one.kind, "record": None if one.key is None else str(one.key), "text": one.text}
                for one in differences
            ]
            others += [
                {"plane": plane.name, "kind": one.kind, "order": one.order.value, **one.where, "text": one.text}
                for one in foreign
            ]
        return JSONResponse({"desired": desired, "differences": told, "foreign": others})
