"""``bagpipe explain`` and ``bagpipe audit``: why packets go where they go, and what the dataplane holds otherwise."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from bagpipe.cli.attachments import json_option
from bagpipe.cli.client import Client
from bagpipe.cli.tables import STATE_COLOURS


def explanation(told: Mapping[str, Any]) -> Iterator[str]:
    """The answer of ``GET /v2/explain`` as lines: route, competitors, next hops, how it is carried, what is missing."""
    is_bridged = told.get("type") == "evpn"
    yield f"{told['destination']} in VPN {told['instance']} ({'EVI' if is_bridged else 'VRF'} {told['number']})"
    yield ""
    found = told["mac"] if is_bridged else told["prefix"]
    name = "MAC" if is_bridged else "Route"
    if found is None or not told["next_hops"]:
        yield f"{name:14}{'none' if found is None else found}: {told['why']}"
    else:
        yield f"{name:14}{found}"
        for number, hop in enumerate(told["next_hops"]):
            yield f"{'Next hop' if not number else '':14}{hop}"
    if told["candidates"]:
        yield ""
        yield "Candidates, best first"
        for one in told["candidates"]:
            yield f"  {'>' if one['used'] else ' '} {_claim(one) if is_bridged else _candidate(one)}"
    answered = told.get("answered")
    if answered is not None:
        yield ""
        yield f"ARP and ND    {answered['record']} is {_state(answered)}"
    programmed = told.get("programmed")
    if programmed is not None:
        yield ""
        yield f"Dataplane     {programmed['record']} is {_state(programmed)}"
        yield from _carried(told.get("carried"))
    yield ""
    yield from _missing(told["missing"])
    for warning in told.get("warnings", ()):
        yield f"{click.style('Warning', fg='yellow')}       {warning}"


def _state(programmed: Mapping[str, Any]) -> str:
    state = click.style(programmed["state"], fg=STATE_COLOURS.get(programmed["state"]))
    return f"{state}: {programmed['reason']}" if programmed.get("reason") else state


def _claim(one: Mapping[str, Any]) -> str:
    """A claim to a MAC."""
    origin = one["peer"] if not one["route_distinguisher"] else f"{one['peer']}, RD {one['route_distinguisher']}"
    kind = "default gateway" if one["gateway"] else f"sequence {one['sequence']}{', sticky' if one['sticky'] else ''}"
    segment = f", ESI {one['segment']}" if one["segment"] else ""
    address = f" with {one['address']}" if one["address"] else ""
    hops = ", ".join(one["next_hops"]) or "no next hop"
    return f"{hops}{address}  (from {origin}, {kind}{segment}): {one['reason']}"


def _candidate(one: Mapping[str, Any]) -> str:
    origin = one["peer"] if not one["route_distinguisher"] else f"{one['peer']}, RD {one['route_distinguisher']}"
    where = one["next_hop"] or "no next hop"
    return f"{one['prefix']} → {where}  (from {origin}, LOCAL_PREF {one['local_pref']}): {one['reason']}"


def _carried(carried: Mapping[str, Any] | None) -> Iterator[str]:
    if carried is None:
        return
    for number, part in enumerate(carried["parts"]):
        yield f"{'  carried by' if not number else '':14}{part}"
    if carried["counters"]:
        yield f"  {'so far':12}{', '.join(f'{number} {what}' for what, number in carried['counters'].items())}"
    for number, (hop, mac) in enumerate(carried["neighbours"].items()):
        shown = mac if mac is not None else click.style("not resolved", fg="red")
        yield f"  {'neighbour' if not number else '':12}{hop} has MAC {shown}"


def _missing(missing: list[str]) -> Iterator[str]:
    if not missing:
        yield click.style("Nothing is missing.", fg="green")
        return
    yield click.style("Missing", fg="red")
    for one in missing:
        yield f"  - {one}"


@click.command()
@click.argument("instance")
@click.argument("destination")
@json_option
@click.pass_obj
def explain(client: Client, instance: str, destination: str, as_json: bool) -> None:
    """Why packets in the VPN INSTANCE to the address DESTINATION go where they go, or nowhere. In an EVPN instance
    DESTINATION may be a MAC address as well.

    The route and why it won, the flow or group that carries it with its counters, the MAC of the next hop, and what is
    missing. Status 1 if no route covers the destination.
    """
    told = client.get("/v2/explain", {"instance": instance, "destination": destination})
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        for line in explanation(told):
            click.echo(line)
    if told.get("programmed") is None:
        raise click.exceptions.Exit(1)


BEFORE = "before"
AFTER = "after"
KINDS = {"missing": "missing", "extra": "left over", "changed": "changed"}


def others(foreign: Sequence[Mapping[str, Any]], is_all: bool) -> Iterator[str]:
    """What is not the daemon's as lines; without ``is_all`` those are left out that the daemon's own come before."""
    if not foreign:
        return
    yield ""
    for one in foreign:
        if is_all or one["order"] != AFTER:
            order = click.style(f"{one['order']:9}", fg="yellow" if one["order"] == BEFORE else None)
            yield f"{order}  {one['text']}"
    counted = Counter(one["order"] for one in foreign)
    what = "thing of others is" if len(foreign) == 1 else "things of others are"
    yield (
        f"{len(foreign)} {what} where the daemon's are: {counted[BEFORE]} may take packets before them,"
        f" {counted[AFTER]} after them"
    )


@click.command()
@click.option("--all", "is_all", is_flag=True, help="List all flows of others, also those that come after.")
@json_option
@click.pass_obj
def audit(client: Client, as_json: bool, is_all: bool) -> None:
    """Every difference between what the dataplane should hold and what it holds. Status 1 if there is one.

    Flows and groups that are not the daemon's, in the tables that it uses, are told apart: "before" may take packets
    before the daemon's do, "beside" is for other packets, "after" is for what the daemon leaves.
    """
    told = client.ask("GET", "/v2/audit", timeout=120.0)
    differences = told["differences"]
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        for one in differences:
            record = f"{one['record']}: " if one["record"] is not None else ""
            click.echo(f"{KINDS.get(one['kind'], one['kind']):9}  {record}{one['text']}")
        click.echo(f"{told['desired']} records desired, {len(differences)} differences")
        for line in others(told.get("foreign", ()), is_all):
            click.echo(line)
    if differences:
        raise click.exceptions.Exit(1)
