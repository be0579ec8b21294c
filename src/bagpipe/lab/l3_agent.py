"""Neutron's L3 agent on a compute host of the lab's cloud, in the mode ``dvr``: the host's part of distributed routers.

A distributed router is a namespace on every host with machines of its networks, under one name. As the hosts of the lab
are one machine, each agent has a directory of namespaces of its own, in a mount namespace that it gets from ``ip netns
exec``; ``python -m bagpipe.lab.l3_agent PROGRAM …`` gives it one and becomes the program.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bagpipe.lab.hosts import Host

L3_AGENT = "neutron-l3-agent"
L3_PROGRAMS = ("iptables-restore", "mount")

_CONF = """\
[DEFAULT]
host = {name}
state_path = {directory}
transport_url = rabbit://lab:lab@{controller}:5672/
rpc_response_timeout = 30
use_journal = False
interface_driver = openvswitch
agent_mode = dvr
enable_metadata_proxy = False

[oslo_concurrency]
lock_path = {directory}/lock

[ovs]
ovsdb_connection = tcp:127.0.0.1:6640

[agent]
root_helper = env
report_interval = 10
"""


def configuration(host: Host, controller: str) -> Path:
    """Write the agent's file, and give its path; ``controller`` is the address of the broker."""
    state = host.directory / "l3"
    state.mkdir(exist_ok=True)
    file = host.directory / "l3_agent.ini"
    file.write_text(_CONF.format(name=host.name, directory=state, controller=controller))
    return file


def main() -> None:
    """Hide the machine's network namespaces, and become the program of the command line."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
