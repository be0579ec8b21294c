"""Which dataplane drivers carry IP VPNs and EVPNs: those that are here, or that another package brings.

A package brings one by an entry point of the group ``bagpipe.dataplane.ipvpn`` or ``bagpipe.dataplane.evpn``: something
that is called with the :class:`bagpipe.daemon.configuration.DataplaneSettings` of the section and gives a
:class:`bagpipe.dataplane.driver.Dataplane`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import cast

from bagpipe.daemon.configuration import DataplaneSettings
from bagpipe.daemon.start_error import StartError
from bagpipe.dataplane.driver import Dataplane
from bagpipe.dataplane.memory import MemoryDataplane


def ipvpn_dataplane(settings: DataplaneSettings) -> Dataplane:
    """The driver that the settings name, not started. Raises StartError with one line, LocalMisuse for an option."""
    if settings.driver == "dummy":
        return MemoryDataplane(keeps=False)
    if settings.driver == "ovs":
        with _without("eventlet"):
            from bagpipe.daemon.ovs_settings import ovs_dataplane  # noqa: PLC0415 - its libraries are 14 MB

        return ovs_dataplane(settings)
    return _of_another_package("ipvpn", settings)


def evpn_dataplane(settings: DataplaneSettings) -> Dataplane:
    """The driver that the settings name, not started. Raises StartError with one line, LocalMisuse for an option."""
    if settings.driver == "dummy":
        return MemoryDataplane(keeps=False)
    if settings.driver == "ovs":
        with _without("eventlet"):
            from bagpipe.daemon.evpn_settings import ovs_dataplane  # noqa: PLC0415 - its libraries are 14 MB

        return ovs_dataplane(settings)
    if settings.driver == "linux":
        from bagpipe.daemon.evpn_settings import linux_dataplane  # noqa: PLC0415 - so is its library

        return linux_dataplane(settings)
    return _of_another_package("evpn", settings)


def _of_another_package(kind: str, settings: DataplaneSettings) -> Dataplane:
    where = f"[DATAPLANE_DRIVER_{kind.upper()}] dataplane_driver {settings.driver}"
    for point in entry_points(group=f"bagpipe.dataplane.{kind}"):
        if point.name == settings.driver:
            try:
                return cast(Dataplane, point.load()(settings))
            except Exception as error:
                raise StartError(f"{where}: {error}") from error
    raise StartError(f"{where}: there is no such driver yet")


@contextmanager
def _without(library: str) -> Iterator[None]:
    """Imports within do not find ``library``.

    The library of Open vSwitch loads eventlet where it is installed, only to ask whether it is in use: 18 MB, and a
    warning on standard error.
    """
    if library in sys.modules:
        yield
        return
    sys.modules[library] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[library]
