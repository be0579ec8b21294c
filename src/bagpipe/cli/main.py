"""``bagpipe``: look at a running speaker or reflector, attach and detach. Speaks to it over HTTP alone."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from bagpipe import __version__
from bagpipe.cli.attachments import attach, detach, json_option
from bagpipe.cli.client import DEFAULT_SERVER, Client, ClientError
from bagpipe.cli.explain import audit, explain
from bagpipe.cli.instances import instances
from bagpipe.cli.tables import PEER_HEADINGS, ROUTE_HEADINGS, STATE_COLOURS, peer_rows, route_rows, show


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--server",
    default=DEFAULT_SERVER,
    envvar="BAGPIPE_SERVER",
    show_default=True,
    show_envvar=True,
    help="http://HOST:PORT or unix:PATH",
)
@click.version_option(__version__, prog_name="bagpipe")
@click.pass_context
def command(context: click.Context, server: str) -> None:
    """Look at a running bagpipe-bgp or bagpipe-fakerr."""
    context.obj = Client(server)


@command.command()
@json_option
@click.pass_obj
def peers(client: Client, as_json: bool) -> None:
    """Neighbours, their sessions, and what they have told."""
    answer = client.get("/v2/peers")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        show(PEER_HEADINGS, peer_rows(answer["peers"]), "no neighbours")


@command.command()
@click.option("--family", help="vpnv4, vpnv6, evpn, rtc, flowspec-vpnv4 or flowspec-vpnv6")
@click.option("--rt", help="Only routes with this route target, 64512:1")
@click.option("--rd", help="Only routes with this route distinguisher, 192.0.2.1:5")
@click.option("--limit", type=click.IntRange(0), help="Not more than so many.")
@json_option
@click.pass_obj
def routes(
    client: Client, family: str | None, rt: str | None, rd: str | None, limit: int | None, as_json: bool
) -> None:
    """Routes, best paths marked, with the reason."""
    given = {"family": family, "rt": rt, "rd": rd, "limit": None if limit is None else str(limit)}
    query = {name: value for name, value in given.items() if value is not None}
    if as_json:
        for piece in client.copy("/v2/routes", query):
            sys.stdout.buffer.write(piece)
    else:
        show(ROUTE_HEADINGS, route_rows(client.get("/v2/routes", query)["routes"]), "no routes")


@command.command()
@json_option
@click.pass_obj
def watch(client: Client, as_json: bool) -> None:
    """Sessions and attachments that come and go, warnings and numbers, as they happen.

    Ends with Ctrl-C. JSON: one object a line.
    """
    for kind, value in client.events("/v2/events"):
        if as_json:
            click.echo(json.dumps({"event": kind, **value}))
        else:
            click.echo(EVENT_TEXTS.get(kind, _unknown)(value))
        sys.stdout.flush()


def _notice(value: dict[str, Any]) -> str:
    moment = time.strftime("%H:%M:%S", time.localtime(value["time"]))
    colour = "green" if value["kind"] == "session up" else "yellow"
    return f"{moment}  {value['peer']}  {click.style(value['kind'], fg=colour)}  {value['text']}"


def _counts(value: dict[str, Any]) -> str:
    paths = ", ".join(f"{family} {number}" for family, number in value["paths"].items() if number) or "no routes"
    moment = time.strftime("%H:%M:%S")
    return f"{moment}  {value['established']} of {value['peers']} sessions established; {paths}"


def _lost(value: dict[str, Any]) -> str:
    return f"{time.strftime('%H:%M:%S')}  {value['notices']} notices were lost: reading too slowly"


def _unknown(value: dict[str, Any]) -> str:
    return json.dumps(value)


def _hello(value: dict[str, Any]) -> str:
    return f"{time.strftime('%H:%M:%S')}  bagpipe {value['version']}, process {value['process']}"


def _attachment(value: dict[str, Any]) -> str:
    owner = f" of {value['owner']}" if value["owner"] else ""
    state = click.style(value["state"], fg=STATE_COLOURS.get(value["state"]))
    return f"{time.strftime('%H:%M:%S')}  attachment {value['id']}{owner}  {state}{_reason(value['reason'])}"


def _dataplane(value: dict[str, Any]) -> str:
    return f"{time.strftime('%H:%M:%S')}  dataplane  {value['state']}{_reason(value['why'])}"


def _reason(text: str | None) -> str:
    return f": {text}" if text else ""


EVENT_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "hello": _hello,
    "notice": _notice,
    "attachment": _attachment,
    "dataplane": _dataplane,
    "counts": _counts,
    "lost": _lost,
}


for one in (instances, attach, detach, explain, audit):
    command.add_command(one)


def main() -> int:
    """Run a command; its exit status. That is 1 when the server cannot be reached or refuses too, 2 for a wrong
    command line.
    """
    try:
        status = command.main(standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ClientError as error:
        click.echo(f"bagpipe: {error}", err=True)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
