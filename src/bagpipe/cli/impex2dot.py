"""``bagpipe-impex2dot``: who imports and exports what, as a Graphviz digraph, from the looking glass of some servers.

A VPN instance is a box, a route target an ellipse; an arrow into a box is an import, one out of it an export. Dashed
arrows belong to readvertised routes, dotted ones to traffic that is drawn to an instance (the flows it announces to the
VPNs of others, and its default route); ports hang below the instances they belong to.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bagpipe.cli.client import Client, ClientError
from bagpipe.cli.glass import add_server_options, address_of, fetch_from


@dataclass(frozen=True, slots=True)
class Instance:
    """A VPN instance as the looking glass shows it. ``server`` is where."""

    server: str
    name: str
    kind: str
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    readvertise_from: tuple[str, ...] = ()
    readvertise_to: tuple[str, ...] = ()
    redirects_to: tuple[str, ...] = ()
    attracts_to: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()

    @property
    def node(self) -> str:
        """The name of its node."""
        return _identifier("vpn", self.server, self.name)


def _targets(texts: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(text.removeprefix("target:") for text in texts or ())


def _identifier(*parts: str) -> str:
    """A name that Graphviz takes unquoted, another for other parts."""
    return "__".join(re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):x}_", part) for part in parts)


def instances_of(client: Client, server: str, base: str) -> Iterator[Instance]:
    """The instances that a looking glass shows. Raises ClientError."""
    for entry in fetch_from(client, f"{base}/vpns/instances"):
        path = f"{base}/vpns/instances/{entry['id']}"
        try:
            shown: dict[str, Any] = fetch_from(client, path)
            ports = fetch_from(client, f"{path}/ports")
        except LookupError:
            continue
        held = shown.get("route_targets") or {}
        readvertise, attract = shown.get("readvertise") or {}, shown.get("attract_traffic") or {}
        yield Instance(
            server=server,
            name=str(entry["id"]),
            kind=str(shown.get("instance_type", "VPN")),
            imports=_targets(held.get("import")),
            exports=_targets(held.get("export")),
            readvertise_from=_targets(readvertise.get("from")),
            readvertise_to=_targets(readvertise.get("to")),
            redirects_to=_targets(attract.get("redirect_rts")),
            attracts_to=_targets(attract.get("to_rt") or attract.get("to")),
            ports=tuple(ports) if isinstance(ports, dict) else (),
        )


def digraph(instances: Sequence[Instance]) -> str:
    """The text for Graphviz."""
    lines = [
        "digraph import_export {",
        '  node [fontname="Helvetica"];',
        '  edge [fontname="Helvetica"];',
        "  nodesep=0.55;",
    ]
    targets = dict.fromkeys(
        target
        for one in instances
        for group in (
            *(one.imports, one.exports, one.readvertise_from, one.readvertise_to, one.redirects_to, one.attracts_to),
        )
        for target in group
    )
    lines += ["  subgraph rts {", "    rank=same;"]
    lines += [f"    {_identifier('rt', target)} [label={_quoted(target)}];" for target in targets]
    lines += ["  }"]
    for name, kinds in (("ipvpns", {"VRF"}), ("evpns", {"EVI"}), ("others", None)):
        found = [one for one in instances if (one.kind in kinds if kinds else one.kind not in {"VRF", "EVI"})]
        if found or kinds:
            lines += [f"  subgraph {name} {{", "    rank=same;", *(f"    {_box(one)}" for one in found), "  }"]
    for one in instances:
        lines += [f"  {edge};" for edge in _edges(one)]
    ports = dict.fromkeys((one.server, port) for one in instances for port in one.ports)
    lines += [f"  {_identifier('port', *port)} [label={_quoted(port[1])},shape=plaintext];" for port in ports]
    return "\n".join([*lines, "}"])


def _box(one: Instance) -> str:
    text = "\n".join((one.kind, one.name, f"[{one.server}]"))
    return f"{one.node} [label={_quoted(text)},shape=box];"


def _edges(one: Instance) -> Iterator[str]:
    for targets, is_import, style in (
        (one.imports, True, ""),
        (one.exports, False, ""),
        (one.readvertise_from, True, ' [style=dashed,label="readvertised"]'),
        (one.readvertise_to, False, ' [style=dashed,label="readvertised"]'),
        (one.redirects_to, False, ' [style=dotted,label="flows"]'),
        (one.attracts_to, False, ' [style=dotted,label="default route"]'),
    ):
        for target in targets:
            node = _identifier("rt", target)
            yield f"{node} -> {one.node}{style}" if is_import else f"{one.node} -> {node}{style}"
    for port in one.ports:
        yield f'{one.node} -> {_identifier("port", one.server, port)} [style=dashed,dir=none,color="gray"]'


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the digraph. The status is 1 when a server gives no answer."""
    parser = argparse.ArgumentParser(
        prog="bagpipe-impex2dot",
        description="Which VPN instances import and export which route targets, for Graphviz.",
        epilog="Example: bagpipe-impex2dot --server s1 --server s2 | dot -Tpdf > impex.pdf",
    )
    parser.add_argument(
        "--server", action="append", dest="servers", help="address of a bagpipe-bgp (default: localhost); repeatable"
    )
    add_server_options(parser)
    asked = parser.parse_args(arguments)
    found: list[Instance] = []
    try:
        for server in asked.servers or ["localhost"]:
            client = Client(address_of(server, asked.port))
            found += instances_of(client, server, f"/{asked.prefix.strip('/')}")
    except ClientError as error:
        print(f"bagpipe-impex2dot: {error}", file=sys.stderr)
        return 1
    except LookupError as error:
        print(f"bagpipe-impex2dot: {server}: no looking glass at {error}", file=sys.stderr)
        return 1
    print(digraph(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
