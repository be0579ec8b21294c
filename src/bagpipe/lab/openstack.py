"""``python -m bagpipe.lab openstack …``: OpenStack's command line client against the lab's Neutron.

The client has many dependencies that nothing else here needs, so it gets a virtual environment of its own when it is
asked for the first time, beside that of the lab.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bagpipe.lab.cloud import CONTROLLER, CONTROLLER_ADDRESS
from bagpipe.lab.controller import API_PORT
from bagpipe.lab.hosts import LabFault

VENV = Path(sys.prefix).with_name(".venv-openstack")
_PACKAGES = ("python-openstackclient", "python-neutronclient")


def client(arguments: Sequence[str]) -> int:
    """Run the client and give its exit status. Raises LabFault where it cannot be installed."""
    program = VENV / "bin" / "openstack"
    if not program.is_file():
        print(f"Installing {' and '.join(_PACKAGES)} into {VENV}, once.", file=sys.stderr, flush=True)
        for command in (
            [sys.executable, "-m", "venv", str(VENV)],
            [str(VENV / "bin" / "pip"), "-q", "install", *_PACKAGES],
        ):
            if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
                raise LabFault(f"the client could not be installed: {' '.join(command)}")
    url = f"http://{CONTROLLER_ADDRESS}:{API_PORT}/"
    command = [str(program), "--os-auth-type", "none", "--os-endpoint", url, *arguments]
    return subprocess.run(CONTROLLER.argv(command), check=False).returncode
