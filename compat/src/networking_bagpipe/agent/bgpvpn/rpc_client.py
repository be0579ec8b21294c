"""The old calls, as bagpipe has them."""

from bagpipe.neutron.server.old_rpc import BAGPIPE_BGPVPN as topics_BAGPIPE_BGPVPN
from bagpipe.neutron.server.old_rpc import BGPVPNAgentNotifyApi

__all__ = ["BGPVPNAgentNotifyApi", "topics_BAGPIPE_BGPVPN"]
