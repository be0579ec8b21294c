"""What a tenant waits for: ``python -m bench.neutron`` starts the lab's cloud, measures and prints a table.

Times are those of the whole way: Neutron's API, its message to the agents, the agent, the daemon, BGP, the flows. What
Neutron's API alone takes is given beside it. ``--up`` passes options to ``python -m bagpipe.lab up``, such as
``--agents=reference``, so that the same is measured of others.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

_NAME = f"bagpipe-bench-{os.getpid()}"
_ROWS = (
    ("POST network association → answer of the API", "api"),
    ("POST network association → route at the reflector", "associate_to_route"),
    ("POST network association → first ping answered", "associate_to_ping"),
    ("DELETE → no packet more", "delete_to_silence"),
    ("{ports} ports plugged on one host → all routes at the reflector", "ports_to_routes"),
)


def measured(up: list[str], rounds: int, ports: int) -> dict[str, Any]:
    """The figures of one cloud. Raises ``RuntimeError`` with what the lab said if it did not come up."""
    try:
        _lab("up", *up)
        found: dict[str, Any] = json.loads(_lab("measure", "--rounds", str(rounds), "--ports", str(ports)))
        return found
    finally:
        _lab("down")


def table(found: dict[str, Any]) -> str:
    """The figures as a table: median, least and most."""
    lines = ["| event | median | least | most |", "|---|---|---|---|"]
    for title, key in _ROWS:
        seconds = found[key]
        figures = (statistics.median(seconds), min(seconds), max(seconds))
        shown = " | ".join(f"{1000 * one:.0f} ms" for one in figures)
        lines.append(f"| {title.format(ports=found['ports'])} | {shown} |")
    for name, octets in found["memory_with_ports"].items():
        lines.append(f"| memory of the {name} | {octets / 2**20:.0f} MiB | | |")
    return "\n".join(lines)


def _lab(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bagpipe.lab", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "BAGPIPE_LAB": _NAME},
    )
    if done.returncode:
        raise RuntimeError(f"lab {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.neutron", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--ports", type=int, default=50)
    parser.add_argument("--up", action="append", default=[], metavar="OPTION", help="for `lab up`, such as --driver=v1")
    parser.add_argument("--json", action="store_true", help="every sample")
    asked = parser.parse_args()
    found = measured(asked.up, asked.rounds, asked.ports)
    print(json.dumps(found, indent=2) if asked.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
