"""What keeps a daemon told of the attachments that the agent wants, whichever it is and however often it goes."""

from bagpipe.neutron.agent.link.attachment import Attachment, Fallback, LocalPort, Readvertise
from bagpipe.neutron.agent.link.daemon_link import DaemonLink
from bagpipe.neutron.agent.link.link_state import LinkState
from bagpipe.neutron.agent.link.settings import Interface, LinkSettings

__all__ = ["Attachment", "DaemonLink", "Fallback", "Interface", "LinkSettings", "LinkState", "LocalPort", "Readvertise"]
