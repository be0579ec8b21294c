"""``python -m bagpipe.lab VERB``: the labs from the command line. Needs root."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from bagpipe.lab import cloud_story, scenario, vpns
from bagpipe.lab.cloud import COMPUTES, Choice, running
from bagpipe.lab.cloud_bridged import BRIDGED
from bagpipe.lab.cloud_events import EVENTS
from bagpipe.lab.cloud_host import Kinds
from bagpipe.lab.cloud_scenarios import SCENARIOS
from bagpipe.lab.compute import ENCAPSULATIONS
from bagpipe.lab.controller import SERVICES
from bagpipe.lab.hosts import Host, LabFault, existing_hosts, take_down
from bagpipe.lab.measuring import measure
from bagpipe.lab.openstack import client
from bagpipe.lab.reflectors import REFLECTORS

ALL = SCENARIOS + BRIDGED + EVENTS


def show() -> None:
    """Tell what there is now, whichever lab is up. Raises LabFault when none is."""
    hosts = existing_hosts()
    if Host("controller") in hosts:
        cloud_story.show()
    elif vpns.COMPUTES[0].host in hosts:
        vpns.show()
    else:
        scenario.show()


def play(name: str) -> None:
    """Play one scenario on the running cloud, or ``all`` that fit it, or ``list`` them. Raises LabFault."""
    chosen = [one for one in ALL if name in {"all", one.name}]
    if name == "list":
        for one in ALL:
            print(f"    {one.name:20} {one.summary}")
    elif not chosen:
        raise LabFault(f"no scenario {name!r}; there are {', '.join(one.name for one in ALL)}")
    else:
        cloud = running()
        try:
            for one in chosen:
                if name != "all" or one.fits(cloud):
                    one.run(cloud)
        except OSError as error:
            raise LabFault(f"Neutron's API does not answer: {error}; `make lab` starts it") from error


def call_api(method: str, path: str, body: str | None) -> None:
    """Call Neutron's API and show the answer. Raises LabFault."""
    try:
        value = None if body is None else json.loads(body)
    except ValueError as error:
        raise LabFault(f"the body {body!r} is not JSON: {error}") from error
    try:
        answer = running().api.call(method, path, value)
    except OSError as error:
        raise LabFault(f"Neutron's API does not answer: {error}") from error
    if answer is not None:
        print(json.dumps(answer, indent=2))


def enter(name: str) -> int:
    """A shell on a host, such as a machine. Raises LabFault where there is none of this name."""
    host = Host(name)
    if host not in existing_hosts():
        raise LabFault(f"no host {name!r}; there are {', '.join(sorted(one.name for one in existing_hosts()))}")
    os.execvpe("ip", host.argv([os.environ.get("SHELL", "/bin/sh")]), {**os.environ, "PS1": f"{name}# "})


def _choice(asked: argparse.Namespace) -> Choice:
    agents, daemons = (_per_host(text) for text in (asked.agents, asked.daemons))
    hosts = {name: Kinds(agents[n], daemons[n], asked.firewall, asked.distributed) for n, name in enumerate(COMPUTES)}
    return Choice(asked.driver, asked.reflector, hosts)


def _per_host(text: str) -> list[str]:
    kinds = text.split(",")
    return kinds * len(COMPUTES) if len(kinds) == 1 else kinds


def _kinds(*known: str) -> type[str]:
    def parse(text: str) -> str:
        kinds = text.split(",")
        if len(kinds) not in {1, len(COMPUTES)} or not set(kinds) <= set(known):
            raise argparse.ArgumentTypeError(f"{text!r}: one or {len(COMPUTES)} of {', '.join(known)}, with commas")
        return text

    return parse  # type: ignore[return-value]  # argparse takes any callable


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bagpipe.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="a real Neutron, two compute hosts, a backbone")
    up.add_argument("--driver", choices=list(SERVICES), default="v2", help="the BGPVPN service driver")
    up.add_argument("--reflector", choices=list(REFLECTORS), default="ours")
    up.add_argument("--agents", type=_kinds("ours", "reference"), default="ours", metavar="KIND[,KIND]",
                    help="ours or reference (networking-bagpipe 25.0.0), for both hosts or for each")  # fmt: skip
    up.add_argument("--daemons", type=_kinds("ours", "reference"), default="ours", metavar="KIND[,KIND]",
                    help="ours or reference (networking-bagpipe 20.0.0), for both hosts or for each")  # fmt: skip
    up.add_argument("--firewall", choices=["openvswitch", "noop"], default="openvswitch", help="of Neutron's agents")
    up.add_argument("--distributed", action="store_true", help="Neutron's L3 agents too, for distributed routers")
    verbs.add_parser("bgp", help="a reflector, two speakers and a router: BGP alone")
    speaker = verbs.add_parser("speaker", help="two compute hosts on Open vSwitch, four machines in two VPNs")
    speaker.add_argument("--encapsulation", choices=list(ENCAPSULATIONS), default="mpls", help="between the hosts")
    played = verbs.add_parser("scenario", help="play one on the running cloud")
    played.add_argument("name", help="its name, all, or list")
    verbs.add_parser("shell", help="a shell on a host of the lab").add_argument("host")
    openstack = verbs.add_parser("openstack", help="OpenStack's client", add_help=False, prefix_chars="\0")
    openstack.add_argument("arguments", nargs=argparse.REMAINDER)
    api = verbs.add_parser("api", help="call Neutron's API")
    api.add_argument("method", choices=["GET", "POST", "PUT", "DELETE"])
    api.add_argument("path", help="below /v2.0/")
    api.add_argument("body", nargs="?", help="JSON")
    measured = verbs.add_parser("measure", help="what the running cloud takes for what tenants do, as JSON")
    measured.add_argument("--rounds", type=int, default=10, help="associations")
    measured.add_argument("--ports", type=int, default=50, help="plugged in at once")
    verbs.add_parser("show", help="what the running lab holds now")
    verbs.add_parser("down", help="end the lab")
    return parser


def _do(asked: argparse.Namespace) -> int:
    match asked.verb:
        case "up":
            cloud_story.up(_choice(asked))
        case "bgp":
            scenario.up()
        case "speaker":
            vpns.up(asked.encapsulation)
        case "scenario":
            play(asked.name)
        case "shell":
            return enter(asked.host)
        case "openstack":
            running()
            return client(asked.arguments)
        case "api":
            call_api(asked.method, asked.path, asked.body)
        case "measure":
            print(json.dumps(measure(running(), asked.rounds, asked.ports), indent=2))
        case "show":
            show()
        case "down":
            take_down()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the verb says; 1 with one line of explanation when it cannot be done."""
    asked = _parser().parse_args(arguments)
    if os.geteuid() != 0:
        print("The lab makes network namespaces, which only root can.", file=sys.stderr)
        return 1
    try:
        return _do(asked)
    except LabFault as fault:
        print(f"lab: {fault}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
