"""``bagpipe explain`` and ``bagpipe audit``: why packets go where they go, and what the dataplane holds otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from bagpipe.cli.attachments import json_option
from bagpipe.cli.client import Client
from bagpipe.cli.tables import STATE_COLOURS


def explanation(told: Mapping[str, Any]) -> Iterator[str]:
    """The answer of ``GET /v2/explain`` as lines: route, competitors, next hops, how it is carried, what is missing."""
    yield f"{told['destination']} in VPN {told['instance']} (VRF {told['number']})"
    yield ""
    if told["prefix"] is None:
        yield f"Route         none: {told['why']}"
    else:
        yield f"Route         {told['prefix']}"
        for number, hop in enumerate(told["next_hops"]):
            yield f"{'Next hop' if not number else '':14}{hop}"
    if told["candidates"]:
        yield ""
        yield "Candidates, best first"
        for one in told["candidates"]:
            yield f"  {'>' if one['used'] else ' '} {_candidate(one)}"
    programmed = told.get("programmed")
    if programmed is not None:
        yield ""
        state = click.style(programmed["state"], fg=STATE_COLOURS.get(programmed["state"]))
        reason = f": {programmed['reason']}" if programmed.get("reason") else ""
        yield f"Dataplane     {programmed['record']} is {state}{reason}"
        yield from _carried(told.get("carried"))
    yield ""
    yield from _missing(told["missing"])


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
    """Why packets in the VPN INSTANCE to the address DESTINATION go where they go, or nowhere.

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


KINDS = {"missing": "missing", "extra": "left over", "changed": "changed"}


@click.command()
@json_option
@click.pass_obj
def audit(client: Client, as_json: bool) -> None:
    """Every difference between what the dataplane should hold and what it holds. Status 1 if there is one."""
    told = client.ask("GET", "/v2/audit", timeout=120.0)
    differences = told["differences"]
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        for one in differences:
            record = f"{one['record']}: " if one["record"] is not None else ""
            click.echo(f"{KINDS.get(one['kind'], one['kind']):9}  {record}{one['text']}")
        click.echo(f"{told['desired']} records desired, {len(differences)} differences")
    if differences:
        raise click.exceptions.Exit(1)
