"""An agent as it was up to Neutron 25: eventlet has patched everything before the link is there.

A program for the interpreter of an old Neutron. Prints JSON: what was settled, in how long, and how often another green
thread ran meanwhile.
"""

from neutron.common import eventlet_utils

eventlet_utils.monkey_patch()

import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import eventlet  # noqa: E402

from bagpipe.neutron.agent.link import Attachment, DaemonLink, LinkSettings, LocalPort  # noqa: E402

PORTS = range(1, 51)


def attachment(number: int) -> Attachment:
    return Attachment(
        port_id=f"p{number}",
        instance_id="ipvpn_net",
        type="ipvpn",
        mac=f"fa:16:3e:00:00:{number:02x}",
        addresses=(f"10.0.0.{number}/32",),
        gateways=("10.0.0.254",),
        import_rts=frozenset({"64512:1"}),
        export_rts=frozenset({"64512:1"}),
        local_port=LocalPort("patch2tun:5", 3, 5),
    )


def main(port: int, daemon: int) -> None:
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while True:
            eventlet.sleep(0.005)
            ticks += 1

    eventlet.spawn(tick)
    told: dict[str, object] = {"patched": eventlet.patcher.is_monkey_patched("thread")}
    link = DaemonLink(LinkSettings(port=port, ping_interval=0.5))
    link.start()
    begin = time.monotonic()
    for number in PORTS:
        link.set_port(f"p{number}", [attachment(number)])
    told["said"] = time.monotonic() - begin
    told["attached"] = all(link.settled(f"p{number}", 30) for number in PORTS)
    told["kind"] = link.state.kind

    os.kill(daemon, signal.SIGSTOP)
    before, begin = ticks, time.monotonic()
    for number in PORTS:
        link.forget_port(f"p{number}")
    told["forgot"] = time.monotonic() - begin
    eventlet.sleep(1)
    told["ticks while it stands still"] = ticks - before
    os.kill(daemon, signal.SIGCONT)
    told["detached"] = all(link.settled(f"p{number}", 60) for number in PORTS)
    begin = time.monotonic()
    link.stop()
    told["stopped"] = time.monotonic() - begin
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
