"""What the scenarios of the cloud have in common: telling, expecting, and waiting for routes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bagpipe.lab.cloud import Cloud
from bagpipe.lab.cloud_host import Vm
from bagpipe.lab.hosts import Host, LabFault
from bagpipe.lab.telling import Story, wait_for
from bagpipe.lab.tenant import Tenant, leftovers
from bagpipe.lab.traffic import answers, reaches, reaches_no_more


def expect(fact: bool, otherwise: str) -> None:
    """Raises LabFault with what is wrong unless it is so."""
    if not fact:
        raise LabFault(otherwise)


class Scene:
    """A running scenario: the cloud, a tenant of its own, and the story."""

    def __init__(self, cloud: Cloud, tenant: Tenant) -> None:
        self.cloud = cloud
        self.tenant = tenant
        self._story = Story()

    def tell(self, *lines: str) -> None:
        """Something happens now."""
        self._story.chapter(*lines)

    def note(self, text: str) -> None:
        """What came of it."""
        print(f"    {text}", flush=True)

    def reached(self, source: Vm | Host, address: str, who: str, patience: float = 15.0) -> None:
        """The source gets answers from an address. Raises LabFault."""
        seconds = reaches(_host(source), address, patience)
        self.note(f"{_host(source).name} → {address} ({who}): answered after {seconds:.2f} s")

    def not_reached(self, source: Vm | Host, address: str, who: str, patience: float = 10.0) -> None:
        """The source soon gets no answers from an address. Raises LabFault."""
        reaches_no_more(_host(source), address, patience)
        self.note(f"{_host(source).name} → {address} ({who}): no answer")

    def never_reached(self, source: Vm | Host, address: str, who: str) -> None:
        """The source gets no answer now. Raises LabFault."""
        expect(answers(_host(source), address, 3, 0.5) == 0, f"{_host(source).name} has an answer from {address}")
        self.note(f"{_host(source).name} → {address} ({who}): no answer")

    def number_of_routes(self, target: str) -> int:
        """How many IP VPN routes with a route target the reflector has; 0 if it is not ours."""
        if self.cloud.choice.reflector != "ours":
            return 0
        return sum(one["family"].startswith("vpnv") for one in self.cloud.routes_at_reflector(target))

    def routes(self, target: str, number: int, patience: float = 15.0) -> None:
        """Wait until the reflector has this many IP VPN routes with a route target. Raises LabFault.

        Only our reflector is asked.
        """
        if self.cloud.choice.reflector != "ours":
            return
        wait_for(
            lambda: self.number_of_routes(target) == number,
            f"{number} routes of {target} at the reflector",
            0.1,
            patience,
        )
        self.note(f"the reflector has {number} route{'' if number == 1 else 's'} with {target}")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One command of the lab, named and summed up as ``play`` is, which raises LabFault if something is not right.

    ``distributed``: it needs a cloud that has distributed routers.
    """

    play: Callable[[Scene], None]
    distributed: bool = False

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.play.__name__.replace("_", "-")

    @property
    def summary(self) -> str:
        """What happens, in a sentence."""
        return self.play.__doc__ or ""

    def fits(self, cloud: Cloud) -> bool:
        """Whether the cloud has what it needs."""
        return not self.distributed or all(kinds.distributed for kinds in cloud.choice.hosts.values())

    def run(self, cloud: Cloud) -> float:
        """Play it with a tenant of its own, which is removed in the end unless it fails. Gives seconds.

        Raises LabFault.
        """
        if not self.fits(cloud):
            raise LabFault(f"{self.name} needs distributed routers: `make lab ARGS=--distributed`")
        began = time.monotonic()
        print(f"\n── {self.name}: {self.summary}", flush=True)
        owner = f"scenario-{self.name}"
        leftovers(cloud, owner)
        with Tenant(cloud, owner) as tenant:
            self.play(Scene(cloud, tenant))
        seconds = time.monotonic() - began
        print(f"\n── {self.name}: all as it should be, {seconds:.1f} s", flush=True)
        return seconds


def _host(source: Vm | Host) -> Host:
    return source.host if isinstance(source, Vm) else source
