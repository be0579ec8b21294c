"""``bagpipe instances``: the VPN instances of a node, or one with its endpoints and every route that competes in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import click

from bagpipe.cli.attachments import json_option
from bagpipe.cli.client import Client
from bagpipe.cli.tables import show

HEADINGS = ("Instance", "Type", "VRF", "Imports", "Exports", "RD", "Endpoints", "Prefixes/MACs", "Unusable")
ENDPOINT_HEADINGS = ("Port", "MAC", "Address", "Label", "Direction", "State", "Announced", "Why")
ROUTE_HEADINGS = ("", "Prefix", "Next hop", "RD", "Peer", "LOCAL_PREF", "Why")
MAC_HEADINGS = ("", "MAC", "Address", "Next hop", "RD", "Peer", "Sequence", "Why")


def _targets(texts: Iterable[str]) -> str:
    return " ".join(text.removeprefix("target:") for text in texts) or "-"


def instance_row(instance: Mapping[str, Any]) -> list[str]:
    """An instance of the list, as text."""
    counts = instance["counts"]
    return [
        str(instance["id"]),
        str(instance["type"]),
        str(instance["instance_dataplane_id"]),
        _targets(instance["route_targets"]["import"]),
        _targets(instance["route_targets"]["export"]),
        str(instance["route_distinguisher"]),
        str(counts["endpoints"]),
        str(counts["macs"] if instance["type"] == "evpn" else counts["prefixes"]),
        str(counts["unusable_routes"]),
    ]


def endpoint_rows(endpoints: Iterable[Mapping[str, Any]]) -> Iterable[list[str]]:
    """A row for each endpoint."""
    for one in endpoints:
        yield [
            str(one["port"]),
            str(one["mac_address"]),
            str(one["ip_address"] or "-"),
            str(one["label"] or "-"),
            str(one["direction"]),
            str(one["state"]),
            "yes" if one["announced"] else "no",
            str(one["reason"] or ""),
        ]


def route_rows(routes: Iterable[Mapping[str, Any]]) -> Iterable[list[str]]:
    """A row for each route that competes for a prefix, best first; ``>`` marks those that packets take."""
    for route in routes:
        for one in route["candidates"]:
            yield [
                ">" if one["used"] else "",
                str(route["prefix"]),
                str(one["next_hop"] or "-"),
                str(one["route_distinguisher"] or "-"),
                str(one["peer"]),
                str(one["local_pref"]),
                str(one["reason"]),
            ]


def mac_rows(macs: Iterable[Mapping[str, Any]]) -> Iterable[list[str]]:
    """A row for each claim to a MAC, best first; ``>`` marks those that frames follow."""
    for mac in macs:
        for one in mac["candidates"]:
            yield [
                ">" if one["used"] else "",
                str(mac["mac"]),
                str(one["ip_address"] or "-"),
                ", ".join(one["next_hops"]) or "-",
                str(one["route_distinguisher"] or "-"),
                str(one["peer"]),
                f"{one['sequence']}{' sticky' if one['sticky'] else ''}",
                str(one["reason"]),
            ]


@click.command()
@click.argument("name", required=False)
@json_option
@click.pass_obj
def instances(client: Client, name: str | None, as_json: bool) -> None:
    """The VPN instances of the node; with a NAME that one, its endpoints and its routes with their reasons."""
    told = client.get("/v2/instances" if name is None else f"/v2/instances/{quote(name, safe='')}")
    if as_json:
        click.echo(json.dumps(told, indent=2))
    elif name is None:
        show(HEADINGS, [instance_row(one) for one in told["instances"]], "no VPN instances")
    else:
        show(HEADINGS, [instance_row(told)], "")
        click.echo()
        show(ENDPOINT_HEADINGS, endpoint_rows(told["endpoints"]), "no endpoints")
        click.echo()
        if told["type"] == "evpn":
            show(MAC_HEADINGS, mac_rows(told["routes"]), "no MACs")
        else:
            show(ROUTE_HEADINGS, route_rows(told["routes"]), "no routes")
