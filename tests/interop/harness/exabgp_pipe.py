"""Runs under ExaBGP: hands it the lines of one file as they are added, and keeps what it says in another.

Started as `python exabgp_pipe.py COMMANDS SEEN`. Uses nothing but the standard library.
"""

from __future__ import annotations

import sys
import threading
import time


def feed(path: str) -> None:
    """Print every line that is appended to the file."""
    with open(path) as commands:
        while True:
            line = commands.readline()
            if line:
                sys.stdout.write(line)
                sys.stdout.flush()
            else:
                time.sleep(0.02)


def main() -> None:
    """Copy until ExaBGP closes the pipe."""
    threading.Thread(target=feed, args=(sys.argv[1],), daemon=True).start()
    with open(sys.argv[2], "a", buffering=1) as seen:
        for line in sys.stdin:
            seen.write(line)


if __name__ == "__main__":
    main()
