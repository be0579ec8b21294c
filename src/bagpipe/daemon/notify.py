"""The notification socket of systemd (sd_notify(3)): ready, reloading, stopping, alive."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Tells systemd how the service is; says nothing where no systemd listens."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog: float | None = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 / 2 if for_us else None
        """Seconds between two :meth:`alive`, None or 0 when the watchdog is off."""

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            try:
                sock.sendto("\n".join(lines).encode(), address)
            except OSError:
                self._address = ""

    def ready(self, status: str) -> None:
        """Started, or reloaded."""
        self._say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again (Type=notify-reload wants the time too)."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The end begins."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """The loop turns."""
        self._say("WATCHDOG=1")
