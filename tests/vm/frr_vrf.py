"""A VRF ``red`` of the Linux kernel on a node, with a customer's machine behind it, and FRR's zebra and bgpd."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from bagpipe.identifiers import MacAddress
from tests.system.openvswitch import die_with_parent
from tests.system.ovs_nodes import Node, Vm, ip
from tests.system.running import wait_for

TABLE = 10
PREFIX4, PREFIX6 = "10.20.0", "fd00:20:"
"""What the customer's addresses begin with: that of its gateway ends in 1, that of its machine in 2."""
SPEAKER = """\
router bgp {asn}
 bgp router-id {address}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 neighbor {west} remote-as {west_as}
 neighbor {west} passive
"""
"""How bgpd's configuration begins: a router of ``asn`` at ``address`` that our node, at ``west``, calls."""
_DAEMONS = {"zebra": ["-g", "frrvty"], "bgpd": ["-g", "root", "-S"]}


@contextlib.contextmanager
def customer(node: Node) -> Iterator[Vm]:
    """A VM behind an interface of the VRF, which the kernel makes and FRR finds."""
    namespace, mac = f"{node.namespace}-customer", MacAddress(bytes((2, 0, 0, 0, 0, 0x3B)))
    here = ("-n", node.namespace)
    ip("netns", "add", namespace)
    try:
        ip(*here, "link", "add", "red", "type", "vrf", "table", str(TABLE))
        ip(*here, "link", "set", "red", "up")
        ip(*here, "link", "add", "customer", "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip(*here, "link", "set", "customer", "master", "red", "up")
        ip("-n", namespace, "link", "set", "eth0", "address", str(mac), "up")
        for prefix, length in ((f"{PREFIX4}.", "24"), (f"{PREFIX6}:", "64")):
            six = [] if "." in prefix else ["nodad"]
            ip(*here, "address", "add", f"{prefix}1/{length}", "dev", "customer", *six)
            ip("-n", namespace, "address", "add", f"{prefix}2/{length}", "dev", "eth0", *six)
            ip("-n", namespace, "route", "add", "default", "via", f"{prefix}1")
        run(node, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        yield Vm("customer", namespace, mac, (f"{PREFIX4}.2/32", f"{PREFIX6}:2/128"), "customer")
    finally:
        ip("netns", "del", namespace)
        ip(*here, "link", "del", "red")


@contextlib.contextmanager
def frr(node: Node, directory: Path, *, bgpd: str, zebra: str = "") -> Iterator[None]:
    """Both daemons with these configurations; their sockets and logs are in ``directory``."""
    (directory / "bgpd.conf").write_text(bgpd)
    (directory / "zebra.conf").write_text(zebra)
    Path("/run/frr").mkdir(exist_ok=True)
    socket = directory / "zserv.api"
    own = ["-u", "root", "--vty_socket", str(directory), "-P", "0", "-z", str(socket)]
    with contextlib.ExitStack() as held:
        for daemon, rights in _DAEMONS.items():
            files = ["-f", str(directory / f"{daemon}.conf"), "-i", str(directory / f"{daemon}.pid")]
            log = held.enter_context((directory / f"{daemon}.log").open("wb"))
            argv = ["ip", "netns", "exec", node.namespace, f"/usr/lib/frr/{daemon}", *own, *rights, *files]
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the threads of a check hold no lock that this needs
            )
            held.callback(process.wait, 10)
            held.callback(process.terminate)
            wait_for(socket.exists, "zebra listens")
        yield


def run(node: Node, *argv: str) -> str:
    """What a command says that is run on the node, whatever its status."""
    command = ["ip", "netns", "exec", node.namespace, *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def shown(node: Node, directory: Path, questions: Sequence[str]) -> str:
    """What FRR answers to these questions, the kernel's routes, and the ends of FRR's logs."""
    asked = [word for question in questions for word in ("-c", question)]
    said = [run(node, "vtysh", "--vty_socket", str(directory), *asked)]
    of_vrf = ("table", str(TABLE))
    for family, table in (("mpls", ()), ("inet", of_vrf), ("inet6", of_vrf)):
        said.append(run(node, "ip", "-f", family, "route", "show", *table))
    return "\n".join([*said, *(path.read_text(errors="replace")[-1000:] for path in directory.glob("*.log"))])
