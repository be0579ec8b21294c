"""``bagpipe attach`` and ``bagpipe detach``: state an attachment under a name, and take it back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import click

from bagpipe.cli.client import Client

Function = TypeVar("Function", bound=Callable[..., Any])
MARGIN = 20.0
"""Seconds that an answer may come later than was asked for."""


def _options(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def _text(name: str, metavar: str, about: str) -> Callable[[Function], Function]:
    return click.option(name, metavar=metavar, help=about)


def _texts(name: str, metavar: str, about: str) -> Callable[[Function], Function]:
    return click.option(name, metavar=metavar, multiple=True, help=f"{about} Repeatable.")


instance_options = _options(
    _text("--instance", "ID", "VPN instance; it is made with its first attachment. Needed."),
    click.option("--type", type=click.Choice(["ipvpn", "evpn"]), help="Kind of VPN (ipvpn)."),
    _texts("--rt", "RT", "Route target to import and export, 64512:1."),
    _texts("--import-rt", "RT", "Route target to import only."),
    _texts("--export-rt", "RT", "Route target to export only."),
    _text("--rd", "RD", "Route distinguisher of the instance (chosen by the daemon)."),
    click.option(
        "--carried-by",
        type=click.Choice(["vpn", "evpn"]),
        multiple=True,
        help="Routes of an ipvpn: VPNv4 and VPNv6, or EVPN type 5 (as the daemon is configured). Repeatable.",
    ),
    click.option(
        "--vni", type=int, metavar="NUMBER", help="VNI of an evpn, or with evpn routes (chosen by the daemon)."
    ),
    _text("--bridge", "NAME", "Linux bridge that was made for an evpn (made by the daemon)."),
    _text("--instance-description", "TEXT", "What the instance is, for people."),
    _texts("--static-route", "PREFIX", "Announce this prefix as well."),
    _text("--fallback-src-mac", "MAC", "Source of what no route covers."),
    _text("--fallback-dst-mac", "MAC", "Its destination."),
    click.option("--fallback-port", type=int, metavar="NUMBER", help="The OpenFlow port it leaves by."),
    click.option("--fallback-vlan", type=int, metavar="VLAN", help="Its VLAN tag."),
    _texts("--readvertise-from", "RT", "Announce routes with this route target again,"),
    _texts("--readvertise-to", "RT", "with this one."),
    _texts("--redirect-rt", "RT", "Draw traffic here out of VPNs that import this route target:"),
    _text("--source-prefix", "PREFIX", "traffic from this prefix,"),
    _text("--destination-prefix", "PREFIX", "to this prefix,"),
    _text("--protocol", "PROTOCOL", "of this protocol,"),
    _text("--source-port", "PORT[:PORT]", "from these ports,"),
    _text("--destination-port", "PORT[:PORT]", "to these ports."),
    _texts("--attract-to", "RT", "Announce a default route to this route target."),
    _texts("--static-destination", "PREFIX", "Draw traffic to this prefix; goes together with --attract-to."),
)
endpoint_options = _options(
    _text("--port", "NAME", "Port, an interface's name. Needed."),
    click.option("--port-number", type=int, metavar="NUMBER", help="Its OpenFlow port (looked up by name)."),
    _text("--interface", "NAME", "Its name on the bridge, if it is another one."),
    click.option("--vlan", type=int, metavar="VLAN", help="Only this VLAN of the port."),
    click.option("--plug", is_flag=True, help="Let the daemon put the port on the bridge and take it off."),
    _text("--mac", "MAC", "MAC of the endpoint. Needed."),
    _texts("--address", "ADDRESS[/LENGTH]", "Its address, IPv4 or IPv6. Needed for an ipvpn."),
    _texts("--gateway", "ADDRESS", "Answer at this port for this gateway."),
    click.option("--direction", type=click.Choice(["both", "to-port", "from-port"]), help="Way of traffic (both)."),
    click.option("--advertise-subnet", is_flag=True, help="Announce the subnet of the addresses, not the addresses."),
    click.option("--local-pref", type=int, metavar="NUMBER", help="LOCAL_PREF of the routes (100)."),
    click.option("--order", type=int, metavar="NUMBER", help="Place among several next hops (0)."),
    click.option("--sticky", is_flag=True, help="In an evpn: the MAC never moves."),
    _text("--description", "TEXT", "What it is, for people."),
    _text("--owner", "NAME", "Who states it (nobody in particular)."),
)


def _is_given(value: object) -> bool:
    """Whether an option was given: neither None nor False nor an empty list. Zero is a value."""
    return value is not None and value is not False and value not in ((), [], {})


def _without_absent(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if _is_given(value)}


def body_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The body of ``PUT /v2/attachments/{id}`` for what the command line gave. What was not given is left out.

    Raises click.UsageError.
    """
    for name in ("instance", "port", "mac"):
        if given[name] is None:
            raise click.UsageError(f"--{name} is needed, or --body")
    classifier = ("source_prefix", "destination_prefix", "protocol", "source_port", "destination_port")
    attract = _without_absent(
        {"to_rts": list(given["attract_to"]), "static_destinations": list(given["static_destination"])}
    )
    flow = _without_absent({name: given[name] for name in classifier})
    if given["redirect_rt"]:
        attract |= {"redirect_rts": list(given["redirect_rt"]), "classifier": flow}
    elif attract or flow:
        raise click.UsageError("traffic is drawn out of the VPNs of --redirect-rt: it is needed")
    instance = {
        "id": given["instance"],
        "type": given["type"],
        "import_rts": [*given["rt"], *given["import_rt"]],
        "export_rts": [*given["rt"], *given["export_rt"]],
        "route_distinguisher": given["rd"],
        "carried_by": list(given["carried_by"]),
        "vni": given["vni"],
        "bridge": given["bridge"],
        "description": given["instance_description"],
        "static_routes": list(given["static_route"]),
        "fallback": _without_absent(
            {
                "src_mac": given["fallback_src_mac"],
                "dst_mac": given["fallback_dst_mac"],
                "port_number": given["fallback_port"],
                "vlan": given["fallback_vlan"],
            }
        ),
        "readvertise": _without_absent(
            {"from_rts": list(given["readvertise_from"]), "to_rts": list(given["readvertise_to"])}
        ),
        "attract_traffic": attract,
    }
    port = {
        "name": given["port"],
        "number": given["port_number"],
        "interface": given["interface"],
        "vlan": given["vlan"],
    }
    body = {
        "owner": given["owner"],
        "instance": _without_absent(instance),
        "port": {**_without_absent(port), **({"plugged": False} if given["plug"] else {})},
        "mac": given["mac"],
        "addresses": list(given["address"]),
        "gateways": list(given["gateway"]),
        "direction": given["direction"],
        "advertise_subnet": given["advertise_subnet"],
        "sticky": given["sticky"],
        "description": given["description"],
    }
    numbers = {name: given[name] for name in ("local_pref", "order") if given[name] is not None}
    return _without_absent(body) | numbers


def _told(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--body: not JSON: {error}") from error


def _path(name: str) -> str:
    return f"/v2/attachments/{quote(name, safe='')}"


def state_text(answer: Mapping[str, Any]) -> str:
    """``web1: in-effect, label 17``, with the reason where there is one."""
    label = "" if answer.get("label") is None else f", label {answer['label']}"
    reason = f": {answer['reason']}" if answer.get("reason") else ""
    return f"{answer['id']}: {answer['state']}{label}{reason}"


def tell_state(answer: Mapping[str, Any], wanted: str, as_json: bool) -> None:
    """Print the state that an attachment has now. Exit status 1 if it is not the one that was wanted."""
    click.echo(json.dumps(answer, indent=2) if as_json else state_text(answer))
    if answer["state"] != wanted:
        raise click.exceptions.Exit(1)


wait_option = click.option(
    "--wait", type=click.FloatRange(0, 600), default=10.0, show_default=True, help="Seconds to wait for the dataplane."
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON, one object.")


@click.command()
@click.argument("name")
@endpoint_options
@instance_options
@click.option("--body", type=click.File(), help="All of it as the JSON of PUT /v2/attachments/NAME; - for stdin.")
@wait_option
@json_option
@click.pass_obj
def attach(client: Client, /, name: str, body: Any, wait: float, as_json: bool, **given: Any) -> None:
    """Attach a port to a VPN under NAME, or change how it is attached.

    It is said to be in effect once the dataplane has confirmed it. Status 1 if it is not after --wait seconds: the
    daemon goes on trying.
    """
    if body is not None and any(map(_is_given, given.values())):
        raise click.UsageError("--body goes without other options of the attachment")
    stated = body_of(given) if body is None else _told(body.read())
    tell_state(client.ask("PUT", _path(name), stated, {"wait": str(wait)}, wait + MARGIN), "in-effect", as_json)


@click.command()
@click.argument("name")
@wait_option
@json_option
@click.pass_obj
def detach(client: Client, /, name: str, wait: float, as_json: bool) -> None:
    """Take the attachment NAME back. Status 1 if the dataplane has not confirmed that after --wait seconds."""
    tell_state(client.ask("DELETE", _path(name), None, {"wait": str(wait)}, wait + MARGIN), "removed", as_json)
