"""Runs of the scripts of this directory, each in a process of its own: a process can hold one Neutron only."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
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
OLDEST_PYTHON = str(Path(os.environ.get("BAGPIPE_REFERENCE_VENV", ROOT / ".venv-reference")) / "bin" / "python")

Steps = dict[str, dict[str, Any]]


def environment(*paths: Path) -> dict[str, str]:
    """This process's environment, with paths that Python looks in first."""
    inherited = os.environ.get("PYTHONPATH", "")
    wanted = [*(str(path) for path in paths), *([inherited] if inherited else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(wanted)}


@dataclass(frozen=True, slots=True)
class Ran:
    """How a script ended: its status, what it said, and the answer that it wrote, None if it wrote none."""

    status: int
    text: str
    answer: Steps | None


def _run(python: str, name: str, driver: str, paths: tuple[Path, ...]) -> Ran:
    with tempfile.TemporaryDirectory() as directory:
        answer = Path(directory) / "answer.json"
        run = subprocess.run(
            [python, str(HERE / name), driver, str(answer)],
            env=environment(*paths),
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        wrote = json.loads(answer.read_text()) if answer.is_file() else None
    return Ran(run.returncode, run.stdout + run.stderr, wrote)


_POOL = ThreadPoolExecutor(2)


@functools.cache
def begun(python: str, name: str, driver: str, paths: tuple[Path, ...]) -> Future[Ran]:
    """A run of a script of this directory, which begins when it is first asked for and a processor is free."""
    return _POOL.submit(_run, python, name, driver, paths)


def suite(driver: str) -> Future[Ran]:
    """networking-bgpvpn's own tests with a driver."""
    return begun(sys.executable, "bgpvpn_suite.py", f"{OURS}.{driver}", (ROOT / "src",))


def oldest(driver: str) -> Future[Ran]:
    """The story with the oldest Neutron that is supported."""
    return begun(OLDEST_PYTHON, "story.py", f"{OURS}.{driver}", (ROOT / "src",))


def _steps(name: str, driver: str, reference: bool, compat: bool) -> Future[Ran]:
    paths = () if reference else (ROOT / "src", *([ROOT / "compat" / "src"] if compat else []))
    return begun(REFERENCE_PYTHON if reference else sys.executable, name, driver, paths)


def steps(name: str, driver: str, *, reference: bool = False, compat: bool = False) -> Steps:
    """What a script wrote of what a driver sent, by step."""
    ran = _steps(name, driver, reference, compat).result()
    assert ran.answer is not None, ran.text[-3000:]
    return ran.answer


def begin_all() -> None:
    """Begin every run, two at a time, in the order in which tests ask for them."""
    for driver in (V2, V1):
        _steps("story.py", f"{OURS}.{driver}", False, False)
        _steps("story.py", f"{REFERENCE}.{driver}", True, False)
    for driver in (V1, V2):
        _steps("story.py", f"{REFERENCE}.{driver}", False, True)
    for driver in (V1, V2):
        suite(driver)
    for driver in (V1, V2):
        oldest(driver)
    _steps("scenes.py", f"{OURS}.{V1}", False, False)


def end() -> None:
    """Begin no further run, and wait for those that are under way."""
    _POOL.shutdown(cancel_futures=True)


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
