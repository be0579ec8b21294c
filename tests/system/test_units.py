"""The units for systemd: what systemd says of them, and the daemon with no more rights than they give."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.openvswitch import OpenVSwitch
from tests.system.running import CLI, DAEMON, ROOT, free_port, run, wait_for

UNITS = ("bagpipe-bgp.service", "bagpipe-fakerr.service")
NOBODY = 64123
"""A user and group that no host has."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root directory with the units and empty programs where they expect them."""
    shutil.copytree(ROOT / "etc" / "systemd", tmp_path / "etc/systemd/system")
    for unit in UNITS:
        for program in re.findall(r"^Exec\w+=(\S+)", (ROOT / "etc/systemd" / unit).read_text(), flags=re.MULTILINE):
            path = tmp_path / program.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(0o755)
    return tmp_path


def analyze(verb: str, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", verb, f"--root={root}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: str, installed: Path) -> None:
    done = analyze("verify", installed, "--man=no", "--recursive-errors=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_exposed_as_little_as_a_program_on_the_network_can_be(unit: str, installed: Path) -> None:
    done = analyze("security", installed, "--offline=yes", "--no-pager", "--threshold=24", unit)
    assert done.returncode == 0, done.stdout
    assert "NoNewPrivileges=" in done.stdout
    assert "✗ NoNewPrivileges=" not in done.stdout
    assert "✗ User=" not in done.stdout


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_starts_a_program_that_is_installed_and_waits_for_its_word(unit: str) -> None:
    text = (ROOT / "etc/systemd" / unit).read_text()
    started = re.search(r"^ExecStart=/usr/bin/(\S+)", text, flags=re.MULTILINE)
    assert started is not None
    assert started[1] in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {"Type=notify", "WatchdogSec=30", "Restart=on-failure", "NoNewPrivileges=yes"} <= set(text.splitlines())


def test_the_users_and_directories_of_the_units_are_made_by_their_snippets(tmp_path: Path) -> None:
    (tmp_path / "etc/bagpipe-bgp").mkdir(parents=True)
    (tmp_path / "etc/bagpipe-bgp/bgp.conf").touch(0o644)
    for program, more in (("systemd-sysusers", []), ("systemd-tmpfiles", ["--create"])):
        kind = program.removeprefix("systemd-")
        snippet = ROOT / "etc" / f"{kind}.d" / "bagpipe.conf"
        subprocess.run([program, f"--root={tmp_path}", *more, snippet], check=True, timeout=30)

    made = {line.split(":")[0]: line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    named = {re.search(r"^User=(\S+)", (ROOT / "etc/systemd" / unit).read_text(), re.MULTILINE)[1] for unit in UNITS}  # type: ignore[index]
    assert named <= set(made)
    assert all(made[name][6].endswith("nologin") for name in named)
    for path, mode in (("etc/bagpipe-bgp", 0o750), ("etc/bagpipe-bgp/bgp.conf", 0o640)):
        status = (tmp_path / path).stat()
        assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (mode, 0, int(made["bagpipe"][3]))


class Unprivileged:
    """The daemon as another user with these ambient capabilities and no way to get more; it tells ``systemd``."""

    def __init__(self, directory: Path, file: Path, capabilities: str, **environment: str) -> None:
        path = directory / "notify"
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(str(path))
        path.chmod(0o666)
        self.systemd.settimeout(15)
        drop = [
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
            *(
                f"--inh-caps=-all{capabilities}",
                f"--ambient-caps=-all{capabilities}",
                f"--bounding-set=-all{capabilities}",
            ),
        ]
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*drop, sys.executable, "-m", DAEMON, "--config-file", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NOTIFY_SOCKET": str(path), **environment},
            )

    def hear(self, word: str) -> str:
        """Wait until systemd hears something with this word."""
        while word not in (said := self.systemd.recv(4096).decode()):
            pass
        return said

    def silent(self, seconds: float) -> bool:
        """Whether systemd hears nothing for so long, once what is on the way has come."""
        self.systemd.settimeout(0.2)
        try:
            while True:
                self.systemd.recv(4096)
        except TimeoutError:
            pass
        self.systemd.settimeout(seconds)
        try:
            self.systemd.recv(4096)
        except TimeoutError:
            return True
        finally:
            self.systemd.settimeout(15)
        return False

    def status(self, key: str) -> str:
        """A line of /proc/PID/status."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return dict(line.split(":\t", 1) for line in text.splitlines())[key].strip()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.systemd.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of the daemon's user with a short name."""
    with tempfile.TemporaryDirectory(prefix="units-") as made:
        os.chown(made, NOBODY, NOBODY)
        yield Path(made)


def test_without_root_it_programs_a_switch_whose_sockets_belong_to_its_group(directory: Path) -> None:
    # given an Open vSwitch that runs as root with UMask=0007 and leaves its sockets to a group
    switch = directory / "ovs"
    switch.mkdir()
    os.chown(switch, 0, NOBODY)
    switch.chmod(0o2750)
    before = os.umask(0o007)
    try:
        ovs = OpenVSwitch(switch).__enter__()
    finally:
        os.umask(before)
    port = free_port()
    file = directory / "bgp.conf"
    file.write_text(
        f"[BGP]\nlocal_address=127.0.0.1\nmy_as=64512\n[API]\nport={port}\n[COMMON]\nstate_dir={directory}/state\n"
        f"[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver=ovs\novsdb_connection=unix:{switch}/db.sock\n"
        f"ovs_run_directory={switch}\nmpls_interface=*gre*\n"
    )
    daemon = None
    try:
        ovs.add_bridge("br-mpls")
        ovs.vsctl("add-port", "br-mpls", "tap1", "--", "set", "interface", "tap1", "type=dummy")
        daemon = Unprivileged(directory, file, ",+net_admin,+net_bind_service", WATCHDOG_USEC="400000")

        # when it has started and a port is attached
        assert "STATUS=" in daemon.hear("READY=1")
        assert daemon.hear("WATCHDOG=1")
        words = "attach web1 --instance blue --rt 64512:10 --port tap1 --mac 52:54:00:00:00:01 --address 10.0.0.1/32"
        done = run(CLI, "--server", f"127.0.0.1:{port}", *words.split())

        # then the flows are on the switch, and the process is nobody with two capabilities
        assert done.stdout.startswith("web1: in-effect"), done.stdout + done.stderr + (directory / "log").read_text()
        assert "52:54:00:00:00:01" in ovs.ofctl("dump-flows", "br-mpls")
        assert daemon.status("Uid").split() == [str(NOBODY)] * 4
        assert int(daemon.status("CapEff"), 16) == int(daemon.status("CapBnd"), 16) == 1 << 12 | 1 << 10
        assert daemon.status("NoNewPrivs") == "1"

        # and a daemon that hangs is silent, which is what the watchdog waits for
        os.kill(daemon.process.pid, 19)
        wait_for(lambda: daemon.status("State").startswith("T"), "it has stopped")
        assert daemon.silent(1.0)
        os.kill(daemon.process.pid, 18)
        assert daemon.hear("WATCHDOG=1")
        daemon.process.terminate()
        assert daemon.hear("STOPPING=1")
        assert daemon.process.wait(5) == 0
    finally:
        if daemon is not None:
            daemon.end()
        ovs.__exit__(None, None, None)


def test_without_the_right_to_the_sockets_it_says_so_and_takes_them_when_it_can(directory: Path) -> None:
    # given sockets that are root's, and a daemon without CAP_DAC_OVERRIDE
    switch = directory / "ovs"
    switch.mkdir()
    port = free_port()
    file = directory / "bgp.conf"
    file.write_text(
        f"[BGP]\nlocal_address=127.0.0.1\nmy_as=64512\n[API]\nport={port}\n[COMMON]\nstate_dir={directory}/state\n"
        f"[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver=ovs\novsdb_connection=unix:{switch}/db.sock\n"
        f"ovs_run_directory={switch}\n"
    )
    with OpenVSwitch(switch) as ovs:
        ovs.add_bridge("br-mpls")
        daemon = Unprivileged(directory, file, ",+net_admin")
        try:
            # then it runs and says what is wrong
            daemon.hear("READY=1")
            log = directory / "log"
            wait_for(lambda: "Permission denied" in log.read_text(), "the log says so")

            # when it may, it needs no restart
            for path in switch.glob("*.*"):
                if path.is_socket():
                    os.chown(path, NOBODY, NOBODY)
            wait_for(lambda: "dataplane ovs: ready" in log.read_text() or None, "it is ready", 30)
            assert daemon.process.poll() is None
        finally:
            daemon.end()
