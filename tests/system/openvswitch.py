"""A real Open vSwitch of a test's own: its database, its vswitchd, its directory, ended by process id.

The dummy datapath is the userspace datapath without devices: flows and groups are checked and kept as ever, and the
test needs neither a namespace nor a kernel module. In a namespace the userspace datapath carries real traffic.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Before the program of a new process: it gets SIGTERM when the thread that made it ends."""
    _LIBC.prctl(1, signal.SIGTERM)


def _listens(path: Path) -> bool:
    """Whether a program serves the socket, which is there a moment before that."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class OpenVSwitch:
    """Runs until the block ends. ``directory`` holds everything; its path must be short enough for a socket's name.

    With a ``namespace`` it runs in there and its bridges have the userspace datapath with real devices, or with
    ``datapath`` ``system`` that of the kernel, which has to have one.
    """

    def __init__(self, directory: Path, namespace: str | None = None, datapath: str = "netdev") -> None:
        self.directory = directory
        self.namespace = namespace
        self.datapath = "dummy" if namespace is None else datapath
        self._environment = {
            **os.environ,
            "OVS_RUNDIR": str(directory),
            "OVS_LOGDIR": str(directory),
            "OVS_DBDIR": str(directory),
        }
        self._database: subprocess.Popen[bytes] | None = None
        self._switch: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.run("ovsdb-tool", "create", str(self.directory / "conf.db"), _SCHEMA)
        self.start_database()
        self.vsctl("--no-wait", "init")
        self.start_switch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop_switch()
        self.stop_database()

    def start_database(self) -> None:
        """Start the database server on what it held before."""
        (self.directory / "db.sock").unlink(missing_ok=True)
        self._database = self._start("ovsdb-server", "conf.db", f"--remote=punix:{self.directory}/db.sock")
        self._wait(self.directory / "db.sock")

    def stop_database(self) -> None:
        """End the database server, as a crash would."""
        if self._database is not None:
            self._end(self._database)
            self._database = None

    def start_switch(self) -> None:
        """Start vswitchd; the bridges that the database has come back, their flows and groups do not."""
        (self.directory / "ovs-vswitchd.ctl").unlink(missing_ok=True)
        devices = {"dummy": ["--disable-system", "--enable-dummy=override"], "netdev": ["--disable-system"]}
        self._switch = self._start("ovs-vswitchd", f"unix:{self.directory}/db.sock", *devices.get(self.datapath, []))
        self._wait(self.directory / "ovs-vswitchd.ctl")
        self.vsctl("init")

    def stop_switch(self) -> None:
        """End vswitchd, as a crash would: without taking its sockets away."""
        if self._switch is not None:
            self._end(self._switch)
            self._switch = None

    @property
    def database_pid(self) -> int:
        """The process id of the database server."""
        assert self._database is not None
        return self._database.pid

    @property
    def vswitchd_pid(self) -> int:
        """The process id of vswitchd."""
        assert self._switch is not None
        return self._switch.pid

    def target(self, bridge: str) -> str:
        """Where a bridge listens for OpenFlow."""
        return f"unix:{self.directory}/{bridge}.mgmt"

    def add_bridge(self, name: str) -> None:
        """Make a bridge that forwards nothing by itself."""
        self.vsctl("add-br", name, "--", "set", "bridge", name, f"datapath_type={self.datapath}", "fail_mode=secure")

    def vsctl(self, *arguments: str) -> str:
        """Run ovs-vsctl and give its output."""
        return self.run("ovs-vsctl", f"--db=unix:{self.directory}/db.sock", "--timeout=10", *arguments)

    def ofctl(self, command: str, bridge: str, *arguments: str) -> str:
        """Run ovs-ofctl in OpenFlow 1.5 and give its output."""
        return self.run("ovs-ofctl", "-O", "OpenFlow15", command, self.target(bridge), *arguments)

    def run(self, *command: str) -> str:
        """Run a program to its end and give its output; its failure is an AssertionError."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=self._environment)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        where = [] if self.namespace is None else ["ip", "netns", "exec", self.namespace]
        with (self.directory / f"{program}.out").open("ab") as output:
            return subprocess.Popen(
                [*where, program, *arguments, f"--unixctl={self.directory}/{program}.ctl", "-vconsole:warn"],
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the threads of a test hold no lock that this needs
            )

    def _wait(self, path: Path) -> None:
        end = time.monotonic() + 10
        while not _listens(path):
            assert time.monotonic() < end, f"{path} has not come: {self._output()}"
            time.sleep(0.02)

    def _output(self) -> str:
        return "".join(path.read_text() for path in self.directory.glob("*.out"))

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
