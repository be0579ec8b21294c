"""What the run ran on."""

from __future__ import annotations

import datetime
import importlib.util
import os
import platform
from pathlib import Path


def describe() -> dict[str, str]:
    """Facts about machine, kernel and interpreter for the head of the report."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "compiled": "yes" if compiled() else "no",
        "load_before": load(),
    }


def load() -> str:
    """Load average of the last minute."""
    return f"{os.getloadavg()[0]:.2f}"


def compiled() -> bool:
    """Whether the RIB of ``bagpipe`` is an extension module."""
    spec = importlib.util.find_spec("bagpipe.rib.store")
    return spec is not None and spec.origin is not None and spec.origin.endswith(".so")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
