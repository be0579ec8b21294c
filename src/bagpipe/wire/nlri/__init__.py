"""NLRI of each family the speaker carries (RFC 4760 section 5), by family."""

from __future__ import annotations

from bagpipe.wire.family import EVPN, FLOWSPEC_VPNV4, FLOWSPEC_VPNV6, RTC, VPNV4, VPNV6, Family
from bagpipe.wire.nlri.codec import Codec
from bagpipe.wire.nlri.evpn import EVPN_CODEC
from bagpipe.wire.nlri.flowspec import FLOWSPEC_VPNV4_CODEC, FLOWSPEC_VPNV6_CODEC
from bagpipe.wire.nlri.rtc import RTC_CODEC
from bagpipe.wire.nlri.vpn import VPNV4_CODEC, VPNV6_CODEC

CODECS: dict[Family, Codec] = {
    VPNV4: VPNV4_CODEC,
    VPNV6: VPNV6_CODEC,
    EVPN: EVPN_CODEC,
    RTC: RTC_CODEC,
    FLOWSPEC_VPNV4: FLOWSPEC_VPNV4_CODEC,
    FLOWSPEC_VPNV6: FLOWSPEC_VPNV6_CODEC,
}
"""The codec of each family in ``family.CARRIED``."""
