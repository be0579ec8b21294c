"""A throw-away virtual machine that runs one command as root: Debian's user-mode Linux, a kernel in a process.

The machine sees the files of this one, and what it writes stays in its memory, so a checkout and its virtual
environment are there under their own paths. It has modules that the kernel of this machine may lack: Open vSwitch,
MPLS, GRE, VRF. There is no network but what the command makes. When the command has ended, so has the machine.

Loops run as fast as outside; system calls and new processes are 20 to 60 times slower. One processor.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.system.openvswitch import die_with_parent

KERNEL = "/usr/bin/linux.uml"
MODULES = Path("/usr/lib/uml/modules")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Process 1. It changes its own root, not that of a child, or the kernel would look for modules in the old one.
_INIT = """\
#!/bin/sh
mount -t proc proc /proc
mount -t tmpfs -o size=75% tmpfs /mnt
insmod {modules}/kernel/fs/overlayfs/overlay.ko
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root
mount -t tmpfs tmpfs run
mkdir -p run/control usr/lib/modules
mount -t hostfs -o {control} none run/control
ln -sfn {modules} usr/lib/modules/{release}
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs dev
for node in 'null c 1 3' 'zero c 1 5' 'full c 1 7' 'random c 1 8' 'urandom c 1 9' 'tty c 5 0'; do
    mknod -m 666 dev/$node
done
mkdir -p dev/pts dev/shm dev/net
mknod dev/net/tun c 10 200
mount -t tmpfs tmpfs dev/shm
ln -s /proc/self/fd dev/fd
ip link set lo up
exec chroot . /bin/sh /run/control/command
"""
_COMMAND = """\
cd {directory} || exit
setsid {command} </dev/null >/run/control/output 2>&1
echo $? >/run/control/ended
sync
while :; do sleep 60; done
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a command: its exit status, what it wrote (both outputs), and the seconds from power to end."""

    status: int
    output: str
    seconds: float


class MachineFailed(AssertionError):
    """The machine ended before its command did, or the time was up; says what both had written until then."""


def run(
    command: Sequence[str],
    *,
    seconds: float,
    memory: int = 1024,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Boot a machine with ``memory`` MiB, run a command in it, and end it.

    Raises :class:`MachineFailed`, at the latest after ``seconds``.
    """
    modules = max(MODULES.iterdir())
    with tempfile.TemporaryDirectory(prefix="vm-") as name:
        control = Path(name)
        words = ["env", "-", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8"]
        words += [f"{key}={value}" for key, value in (environment or {}).items()]
        text = _COMMAND.format(
            directory=shlex.quote(str(directory or Path.cwd())), command=shlex.join([*words, *command])
        )
        (control / "command").write_text(text)
        init = control / "init"
        init.write_text(_INIT.format(modules=modules, release=modules.name, control=control))
        init.chmod(0o755)
        begin = time.monotonic()
        kernel = _power_on(control, init, memory)
        try:
            while not (status := _read(control / "ended")).endswith("\n"):
                if kernel.poll() is not None:
                    raise MachineFailed(f"the machine ended by itself\n{_said(control)}")
                if time.monotonic() - begin > seconds:
                    raise MachineFailed(f"not ended after {seconds:.0f} s\n{_said(control)}")
                time.sleep(0.05)
            return Ended(int(status), _read(control / "output"), time.monotonic() - begin)
        finally:
            _power_off(kernel)


def _power_on(control: Path, init: Path, memory: int) -> subprocess.Popen[bytes]:
    """The kernel's process, which leads a group of its own: those of the machine's processes belong to it."""
    arguments = [
        f"mem={memory}M",
        *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}"),
        *("con=null", "con0=null,fd:1", "quiet", "loglevel=3", "panic=-1"),
        *("umid=machine", f"uml_dir={control}/"),
    ]
    with (control / "console").open("wb") as console:
        return subprocess.Popen(
            [KERNEL, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env={"PATH": PATH, "TMPDIR": _memory_directory(memory)},
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - the threads of a test hold no lock that this needs
        )


def _power_off(kernel: subprocess.Popen[bytes]) -> None:
    os.killpg(kernel.pid, signal.SIGKILL)
    kernel.wait()


def _memory_directory(memory: int) -> str:
    """Where the file that is the machine's memory goes: /dev/shm, unless that is small as in a container."""
    shm = Path("/dev/shm")
    if shm.is_dir():
        found = os.statvfs(shm)
        if found.f_bavail * found.f_frsize > memory << 20:
            return str(shm)
    return tempfile.gettempdir()


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _said(control: Path) -> str:
    return f"{_read(control / 'output')}\n--- console\n{_read(control / 'console')}"
