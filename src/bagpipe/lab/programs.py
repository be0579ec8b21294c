"""Our programs on the hosts of the lab, run by the Python that runs this."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bagpipe.lab.hosts import Host, LabFault
from bagpipe.lab.telling import indent

_MODULES = {
    "bagpipe": "bagpipe.cli.main",
    "bagpipe-bgp": "bagpipe.daemon.main",
    "bagpipe-fakerr": "bagpipe.reflector.main",
    "bagpipe-looking-glass": "bagpipe.cli.glass",
}


def program(name: str) -> list[str]:
    """The command line of one of our programs."""
    return [sys.executable, "-m", _MODULES[name]]


def shown(name: str) -> str:
    """One of our programs as a person types it: installed beside this Python, or a module of it."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else " ".join(program(name))


def installed(*names: str) -> None:
    """Raises LabFault if a program of others is missing."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise LabFault(f"not installed: {', '.join(missing)}; `make lab` installs them")


def succeeds(host: Host, command: Sequence[str]) -> bool:
    """Whether a command ends with status 0 on a host."""
    try:
        host.run(command)
    except LabFault:
        return False
    return True


def ask(host: Host, *arguments: str, name: str = "bagpipe") -> None:
    """Run one of our programs on a host and show command and answer. Raises LabFault."""
    print(f"    $ ip netns exec {host.namespace} {name} {' '.join(arguments)}")
    indent(host.run([*program(name), *arguments]))


def start_daemon(host: Host, configuration: str) -> None:
    """Start ``bagpipe-bgp`` with this ``bgp.conf``. Journal and log are in the host's directory."""
    file = host.directory / "bgp.conf"
    file.write_text(f"{configuration}\n[COMMON]\nstate_dir = {host.directory / 'state'}\n")
    host.start("bagpipe-bgp", [*program("bagpipe-bgp"), "--config-file", str(file)])


def start_reflector(host: Host) -> None:
    """Start ``bagpipe-fakerr``."""
    host.start("bagpipe-fakerr", [*program("bagpipe-fakerr"), "--api", "127.0.0.1:8082"])
