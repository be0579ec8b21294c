"""Runs :mod:`tests.neutron.agent.stage` in a process of its own, and reads the flows that it leaves in Open vSwitch."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.system.openvswitch import OpenVSwitch, die_with_parent

ROOT = Path(__file__).parents[3]
STAGE = Path(__file__).with_name("stage.py")
REFERENCE_PYTHON = str(Path(os.environ.get("BAGPIPE_REFERENCE_VENV", ROOT / ".venv-reference")) / "bin" / "python")
"""That of an environment with Neutron 25 (2024.2)."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Staged:
    """The process; its commands are methods of :class:`tests.neutron.agent.stage.Stage`."""

    def __init__(
        self, switch: OpenVSwitch, python: str = sys.executable, *, patched: bool = False, **options: Any
    ) -> None:
        self.switch = switch
        given = {"listen_port": free_port(), "datapath": switch.datapath, **options}
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONWARNINGS": "ignore",
            "OVS_RUNDIR": str(switch.directory),
            "STAGE_PATCHED": "eventlet" if patched else "",
            **({"OSKEN_HUB_TYPE": "eventlet"} if patched else {}),
        }
        where = [] if switch.namespace is None else ["ip", "netns", "exec", switch.namespace]
        self._log = (switch.directory / "stage.log").open("ab")
        self._process = subprocess.Popen(
            [*where, python, str(STAGE), str(switch.directory), json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - the threads of a test hold no lock that this needs
        )
        assert self._answer() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        self._log.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def command(*arguments: Any) -> Any:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._answer()
            assert not (isinstance(answer, dict) and "error" in answer), f"{answer}: {self.log()}"
            return answer

        return command

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            try:
                return json.loads(line)
            except ValueError:
                continue  # something that a library printed
        raise AssertionError(f"the stage has ended: {self.log()}")

    def log(self) -> str:
        return (self.switch.directory / "stage.log").read_text()[-6000:]

    def flows(self, bridge: str, table: int) -> set[str]:
        """The flows of a table as ovs-ofctl says them, with numbers of ports replaced by their names."""
        said = self.switch.run(
            "ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "--names", "dump-flows", self.switch.target(bridge)
        )
        found = set()
        for line in said.splitlines():
            text = re.sub(r"cookie=0x[0-9a-f]+, ", "", line.strip())
            text = text.replace('"', "")
            if text.startswith(f"table={table}, ") or (table == 0 and not text.startswith("table=")):
                found.add(text.removeprefix(f"table={table}, "))
        return found
