"""Address families (RFC 4760 section 3) by their registered numbers."""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """An AFI and SAFI pair. Any pair is a family; those below are the ones this speaker carries."""

    afi: int
    safi: int

    @property
    def packed(self) -> bytes:
        """AFI (2 octets) and SAFI (1 octet)."""
        return self.afi.to_bytes(2) + self.safi.to_bytes(1)

    def __str__(self) -> str:
        return NAMES.get(self, f"afi-{self.afi}/safi-{self.safi}")


IPV4_UNICAST = Family(1, 1)
VPNV4 = Family(1, 128)
VPNV6 = Family(2, 128)
RTC = Family(1, 132)
FLOWSPEC_VPNV4 = Family(1, 134)
FLOWSPEC_VPNV6 = Family(2, 134)
EVPN = Family(25, 70)

NAMES: dict[Family, str] = {
    IPV4_UNICAST: "ipv4-unicast",
    VPNV4: "vpnv4",
    VPNV6: "vpnv6",
    RTC: "rtc",
    FLOWSPEC_VPNV4: "flowspec-vpnv4",
    FLOWSPEC_VPNV6: "flowspec-vpnv6",
    EVPN: "evpn",
}
CARRIED: tuple[Family, ...] = (VPNV4, VPNV6, EVPN, RTC, FLOWSPEC_VPNV4, FLOWSPEC_VPNV6)
