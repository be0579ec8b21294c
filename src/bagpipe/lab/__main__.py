"""``python -m bagpipe.lab up|show|down``: the lab from the command line. Needs root."""

from __future__ import annotations

import argparse
import os
import sys

from bagpipe.lab.hosts import LabFault
from bagpipe.lab.scenario import down, show, up

_VERBS = {"up": up, "show": show, "down": down}


def main() -> int:
    """Do what the one argument says; 1 with one line of explanation when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m bagpipe.lab", description=__doc__)
    parser.add_argument("verb", choices=list(_VERBS))
    verb = parser.parse_args().verb
    if os.geteuid() != 0:
        print("The lab makes network namespaces, which only root can.", file=sys.stderr)
        return 1
    try:
        _VERBS[verb]()
    except LabFault as fault:
        print(f"lab: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
