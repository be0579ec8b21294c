"""The flows on the bridge, and the walk of a frame through them, in either way of working.

*Beside Neutron*, on ``br-tun``, an EVI is the VLAN that Neutron's agent has given its network on this node. The tables
are Neutron's; our flows stand above its own, whose priorities are 0 to 2, and leave the rest to them:

=====  ================================================================================================
table  what our flows do
=====  ================================================================================================
0      a tunnel of a node that we hear from: on to 4
2      ARP requests and neighbour solicitations to all: on to 21
4      the VNI becomes the VLAN, on to 10, where Neutron learns and hands the frame to ``br-int``
20     a MAC of another node: out by the tunnel to it, with the VNI that it wants
21     answers for addresses of other nodes that are known; what is not answered is flooded
22     frames to many: to all nodes of the EVI, and to those of Neutron's own flood flow that are none of these
121    puts the link-layer address into a neighbour advertisement, once it is one
=====  ================================================================================================

What comes from a tunnel goes to ``br-int`` alone, so never to another tunnel. Neutron's agent removes flows whose
cookie it has not reserved from its tables when it starts; they are put back at once, and where the agent's extension
has :data:`COOKIE` reserved they stay. All our flows have that one cookie, therefore.

*On a bridge of our own* an EVI is its number in ``reg0``; ``reg1`` is 1 for what came from a tunnel:

=====  ================================================================================================
table  what the flows do
=====  ================================================================================================
0      tells where a frame is from: a plug (by port and VLAN), or a tunnel (by VNI)
1      lets in what comes from nodes that are known
2      answers ARP and neighbour solicitations
3      puts the link-layer address into a neighbour advertisement
4      takes the VLAN tag of the plug off
5      MAC to port or node; what came from a tunnel goes to ports of this node alone
6      frames to many: to the other plugs and, unless they came from a tunnel, to all nodes
=====  ================================================================================================

There each VNI has a tunnel port with just that key, and one more is for sending: beside tunnels of Neutron or of the
IP VPNs with the same local address and UDP port, Open vSwitch finds the one that is meant (see
:mod:`bagpipe.dataplane.ovs.label_ports`).

Groups have no cookie; those of this dataplane have numbers from 0xbe000000 to 0xbeffffff.
"""

from __future__ import annotations

from bagpipe.dataplane.openflow import Ours, Selection
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import ETH_ARP, ETH_IPV6
from bagpipe.dataplane.openflow.groups import DP_HASH

COOKIE = 0xBA6E << 48
WHOLE_COOKIE = 0xFFFF0000FFFFFFFF
"""All bits of a cookie that are used; see :data:`bagpipe.dataplane.ovs.pipeline.WHOLE_COOKIE`."""
OURS = Ours(COOKIE, WHOLE_COOKIE)
GROUPS = range(0xBE000000, 0xBF000000)
SELECTION: Selection = DP_HASH

PRIORITY = 5
"""Of nearly all our flows: above those of Neutron."""
BESIDE = 1
"""In table 2, where it does what Neutron's flow for ARP does too; above stand the flows of the agent's extension that
answer for a gateway of an IP VPN, or lead there.
"""
FIRST = PRIORITY + 1
"""What comes before that."""
SHIELD = PRIORITY + 2

ARP_REQUEST = (f.ETH_TYPE(ETH_ARP), f.ARP_OP(1))
SOLICITATION = (f.ETH_TYPE(ETH_IPV6), f.IP_PROTO(58), f.ICMPV6_TYPE(135), f.ICMPV6_CODE(0))
ADVERTISEMENT = (f.ETH_TYPE(ETH_IPV6), f.IP_PROTO(58), f.ICMPV6_TYPE(136))
TO_ALL = f.ETH_DST(b"\xff" * 6)
TO_MANY = f.ETH_DST.masked(1 << 40, 1 << 40)
TO_ONE = f.ETH_DST.masked(0, 1 << 40)
TO_SOLICITED_NODES = f.ETH_DST.masked(0x3333FF000000, 0xFFFFFF000000)
"""RFC 4291 section 2.7.1, RFC 2464 section 7."""


class NeutronTable:
    """Neutron's tables of br-tun (``neutron_lib.plugins.ml2.ovs_constants``) that our flows are in, and one of ours."""

    INPUT = 0
    FROM_VLAN = 2
    FROM_VNI = 4
    LEARN = 10
    UNICAST = 20
    ANSWER = 21
    FLOOD = 22
    ADVERTISE = 121


class OwnTable:
    """The tables of a bridge of our own."""

    INPUT = 0
    SENDER = 1
    ANSWER = 2
    ADVERTISE = 3
    UNTAG = 4
    UNICAST = 5
    FLOOD = 6
