"""``python -m bagpipe.lab up|speaker|show|down``: the lab from the command line. Needs root."""

from __future__ import annotations

import argparse
import os
import sys

from bagpipe.lab import scenario, vpns
from bagpipe.lab.compute import ENCAPSULATIONS
from bagpipe.lab.hosts import LabFault, existing_hosts, take_down


def show() -> None:
    """Tell what there is now, whichever lab is up. Raises LabFault when none is."""
    if vpns.COMPUTES[0].host in existing_hosts():
        vpns.show()
    else:
        scenario.show()


def main() -> int:
    """Do what the verb says; 1 with one line of explanation when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m bagpipe.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="a reflector, two speakers and a router")
    speaker = verbs.add_parser("speaker", help="two compute hosts on Open vSwitch, four machines in two VPNs")
    speaker.add_argument("--encapsulation", choices=list(ENCAPSULATIONS), default="mpls", help="between the hosts")
    verbs.add_parser("show", help="what the running lab holds now")
    verbs.add_parser("down", help="end the lab")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        print("The lab makes network namespaces, which only root can.", file=sys.stderr)
        return 1
    try:
        match asked.verb:
            case "up":
                scenario.up()
            case "speaker":
                vpns.up(asked.encapsulation)
            case "show":
                show()
            case "down":
                take_down()
    except LabFault as fault:
        print(f"lab: {fault}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
