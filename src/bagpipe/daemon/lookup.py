"""Host names to addresses, without keeping the program from ending.

The loop's own ``getaddrinfo`` runs in a pool whose threads are waited for at the end; a resolver that does not answer
would hold up a stop by many seconds. These threads are not waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

from bagpipe.daemon.reach import canonical
from bagpipe.daemon.socket_options import IPAddress


async def addresses_of(host: str) -> list[IPAddress]:
    """The addresses of a host name, in the resolver's order. Raises OSError when it has none."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[IPAddress]] = loop.create_future()

    def tell(addresses: list[IPAddress], error: OSError | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def ask() -> None:
        addresses: list[IPAddress] = []
        failure: OSError | None = None
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = [address for entry in found if (address := canonical(str(entry[4][0]))) is not None]
        except OSError as error:
            failure = OSError(f"{host}: {error.strerror or error}")
        except UnicodeError as error:
            failure = OSError(f"{host}: {error}")
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, addresses, failure)

    threading.Thread(target=ask, name=f"lookup {host}", daemon=True).start()
    return await answer
