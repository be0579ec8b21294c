"""Where the time of a route goes: ``python -m bench.profile packed 100000``.

Feeds the speaker in this process, without sockets, with what the bench sends over them: bytes into ``Peer.received``
in pieces as a socket would give them. Says microseconds per route and how long one read keeps the loop, then the share
of each function (by samples of processor time, or by ``cProfile`` with ``--calls``) or, with ``--lines``, each line.
"""

from __future__ import annotations

import argparse
import collections
import cProfile
import gc
import pstats
import signal
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from bagpipe.session.settings import SessionSettings
from bagpipe.speaker import Peer, PeerSettings, Retain, Speaker, SpeakerSettings
from bagpipe.wire.family import EVPN, VPNV4, Family
from bench import evpn_inputs, inputs
from bench.cases import WITHDRAWALS, blob
from bench.session import KEEPALIVE, open_message

_SAMPLE = 0.001
_CONNECTION = 1
_ON_THE_WIRE = {VPNV4: inputs.VPNV4, EVPN: evpn_inputs.EVPN}

Counter = collections.Counter[tuple[str, int, str]]


def established(reflector: bool, family: Family) -> tuple[Speaker, Peer]:
    """A speaker with one established client."""
    router_id = IPv4Address("10.77.0.1")
    speaker = Speaker(
        SpeakerSettings(inputs.LOCAL_AS, router_id, reflector=reflector, retain=Retain.ALWAYS), jitter=lambda: 1.0
    )
    session = SessionSettings(inputs.LOCAL_AS, inputs.LOCAL_AS, router_id, (family,))
    peer = speaker.add_peer(PeerSettings("client", "10.77.1.1", session, client=True), 0.0)
    peer.start(0.0)
    peer.accepted(_CONNECTION, 0.0)
    peer.received(_CONNECTION, open_message("10.77.1.1", _ON_THE_WIRE[family]) + KEEPALIVE, 0.0)
    if peer.negotiated is None:
        raise RuntimeError("the session was not established")
    return speaker, peer


def feed(peer: Peer, data: bytes, read: int) -> list[float]:
    """Give ``data`` to the peer in pieces of ``read`` octets; processor seconds taken by each."""
    pieces = [data[i : i + read] for i in range(0, len(data), read)]
    turns = []
    before = time.process_time()
    for piece in pieces:
        peer.received(_CONNECTION, piece, 1.0)
        now = time.process_time()
        turns.append(now - before)
        before = now
    return turns


@contextmanager
def sampled(counter: Counter, *, by_line: bool) -> Iterator[None]:
    """Count where the interpreter is, every tick of processor time."""

    def look(number: int, frame: types.FrameType | None) -> None:
        del number
        if frame is not None:
            code = frame.f_code
            counter[code.co_filename, frame.f_lineno if by_line else code.co_firstlineno, code.co_qualname] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, _SAMPLE, _SAMPLE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def main(arguments: list[str] | None = None) -> None:
    """Run once without a profiler for the figure, then with one for the shares."""
    asked = _parser().parse_args(arguments)
    kind, routes = asked.input, asked.routes
    family = EVPN if kind.startswith("mac-") else VPNV4
    data = blob(kind, routes)

    announced = {withdrawn: kind for kind, withdrawn in WITHDRAWALS.items()}

    def once(work: Callable[[Peer], list[float]]) -> list[float]:
        speaker, peer = established(asked.reflector, family)
        if kind in announced:
            feed(peer, blob(announced[kind], routes), asked.read)
        gc.collect()
        gc.freeze()
        turns = work(peer)
        held = speaker.counts().paths.get(str(family), 0)
        if held != (0 if kind in announced else routes):
            raise RuntimeError(f"cross-check: the speaker holds {held} routes of {routes}")
        return turns

    turns = min((once(lambda peer: feed(peer, data, asked.read)) for _ in range(3)), key=sum)
    best = sum(turns)
    print(f"{kind} {routes}: {best / routes * 1e6:.3f} µs per route, {routes / best / 1000:.0f} k per CPU second")
    ordered = sorted(turns)
    print(f"one read of {asked.read} octets: median {ordered[len(ordered) // 2] * 1e3:.2f} ms, ", end="")
    print(f"p99 {ordered[len(ordered) * 99 // 100] * 1e3:.2f} ms, longest {ordered[-1] * 1e3:.2f} ms")
    if asked.calls:
        profile = cProfile.Profile()
        once(lambda peer: profile.runcall(feed, peer, data, asked.read))
        pstats.Stats(profile).sort_stats("tottime").print_stats(asked.top)
        return
    counter: Counter = collections.Counter()

    def watch(peer: Peer) -> list[float]:
        with sampled(counter, by_line=asked.lines):
            return feed(peer, data, asked.read)

    for _ in range(asked.repeat):
        once(watch)
    total = sum(counter.values()) or 1
    for (path, line, name), count in counter.most_common(asked.top):
        share = count / total
        print(f"{share:6.1%} {share * best / routes * 1e9:7.1f} ns  {name}  {_short(path)}:{line}")


def _short(path: str) -> str:
    parts = Path(path).parts
    return "/".join(parts[parts.index("bagpipe") :]) if "bagpipe" in parts else path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("input", choices=["packed", "churn", "withdraw", "mac-packed", "mac-churn", "mac-withdraw"])
    parser.add_argument("routes", type=int, nargs="?", default=100_000)
    parser.add_argument("--read", type=int, default=65536, help="octets in one read of the socket")
    parser.add_argument("--reflector", action="store_true", help="a reflector instead of a speaker")
    parser.add_argument("--calls", action="store_true", help="cProfile instead of samples")
    parser.add_argument("--lines", action="store_true", help="samples by line instead of by function")
    parser.add_argument("--top", type=int, default=25)
    parser.add_argument("--repeat", type=int, default=20, help="sampled runs added up")
    return parser


if __name__ == "__main__":
    main()
