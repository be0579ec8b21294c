"""The reflector's HTTP interface, loaded only when it is asked for."""

from __future__ import annotations

from bagpipe.daemon.api_listener import ApiListener, ApiSettings, bind_api
from bagpipe.daemon.recent_records import watch_log
from bagpipe.daemon.service import NoticeBoard
from bagpipe.daemon.tcp import Edge
from bagpipe.daemon.views import Seen
from bagpipe.speaker import Speaker


def open_api(where: tuple[str, int], speaker: Speaker, edge: Edge, notices: NoticeBoard) -> ApiListener:
    """Listen at once, serve from the first connection on. Raises StartError when the port is in use."""
    listener = ApiListener(bind_api(ApiSettings(*where)), Seen(speaker, edge, notices, {}, watch_log()))
    listener.start()
    return listener
