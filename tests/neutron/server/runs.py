"""Runs of the scripts of this directory, each in a process of its own: a process can hold one Neutron only."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
OURS = "bagpipe.neutron.server"
REFERENCE = "networking_bgpvpn.neutron.services.service_drivers.bagpipe"
V1, V2 = "bagpipe.BaGPipeBGPVPNDriver", "bagpipe_v2.BaGPipeBGPVPNDriver"
REFERENCE_PYTHON = str(
    Path(os.environ.get("BAGPIPE_REFERENCE_AGENT_VENV", ROOT / ".venv-reference-25")) / "bin" / "python"
)

Steps = dict[str, dict[str, Any]]


def environment(*paths: Path) -> dict[str, str]:
    """This process's environment, with paths that Python looks in first."""
    inherited = os.environ.get("PYTHONPATH", "")
    wanted = [*(str(path) for path in paths), *([inherited] if inherited else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(wanted)}


def script(python: str, name: str, *arguments: str, paths: tuple[Path, ...]) -> subprocess.CompletedProcess[str]:
    """A finished run of a script of this directory."""
    return subprocess.run(
        [python, str(HERE / name), *arguments],
        env=environment(*paths),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@functools.cache
def steps(name: str, driver: str, *, reference: bool = False, compat: bool = False) -> Steps:
    """What a script wrote of what a driver sent, by step."""
    paths = () if reference else (ROOT / "src", *([ROOT / "compat" / "src"] if compat else []))
    with tempfile.TemporaryDirectory() as directory:
        answer = Path(directory) / "answer.json"
        python = REFERENCE_PYTHON if reference else sys.executable
        run = script(python, name, driver, str(answer), paths=paths)
        assert answer.is_file(), run.stderr[-3000:]
        found: Steps = json.loads(answer.read_text())
    return found


def sent(of: Steps, step: str) -> list[Any]:
    """The messages of a step in a form that can be compared: without order where none is meant."""
    return sorted(
        (_comparable(message) for message in of[step]["sent"]), key=lambda one: json.dumps(one, sort_keys=True)
    )


def pushes(of: Steps, step: str) -> list[tuple[str, str, list[str]]]:
    """``(event, resource, [identifier of each object])`` of the pushes of a step."""
    found = []
    for message in of[step]["sent"]:
        if message.get("method") == "push":
            resource = message["topic"].removeprefix("neutron-vo-").removesuffix("-1.0")
            objects = [one["versioned_object.data"]["id"] for one in message["args"]["resource_list"]]
            found.append((message["args"]["event_type"], resource, sorted(objects)))
    return found


def old_calls(of: Steps, step: str) -> list[tuple[str, dict[str, Any]]]:
    """``(method, argument)`` of the old calls of a step."""
    return [
        (message["method"], next(iter(message["args"].values())))
        for message in of[step]["sent"]
        if message.get("topic", "").startswith("q-agent-notifier")
    ]


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {key: _comparable(item) for key, item in value.items() if key != "before the commit"}
        for key in ("resource_list", "routes", "import_rt", "export_rt", "connected_networks"):
            if isinstance(plain.get(key), list):
                plain[key] = sorted(plain[key], key=lambda one: json.dumps(one, sort_keys=True))
        if plain.get("versioned_object.name") == "BGPVPNPortAssociationRoute":
            del plain["versioned_object.data"]["id"]  # nobody was told it before
        return plain
    return [_comparable(item) for item in value] if isinstance(value, list) else value
