"""A switch between hosts whose links can be cut, slow and lossy: `python -m tests.hosts.switch`.

It needs nothing of the kernel but veth pairs, so it serves also where there is no netem. The names
of its links are its arguments; lines on its input change one: `NAME DELAY LOSS`, in seconds and
as a share of the frames in each direction, where a loss of 1 is a cut link.
"""

import heapq
import random
import selectors
import socket
import sys
import time
from dataclasses import dataclass

_PACKET_VNET_HDR, _SOL_PACKET = 15, 263
_HEADER = 10  # of struct virtio_net_hdr, which carries what the kernel has not computed yet
_MOST = 1 << 17
_EVERY = 3  # ETH_P_ALL
_PACKET_OUTGOING = 4
_BROADCAST = b"\xff" * 6


@dataclass(eq=False)
class Link:
    """One host's link, of which the switch has the other end."""

    socket: socket.socket
    delay: float = 0.0
    loss: float = 0.0

    @classmethod
    def of(cls, name: str) -> "Link":
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        made.bind((name, _EVERY))
        made.setblocking(False)
        return cls(made)


class Switch:
    """Passes frames on, each after the delays of the two links that it goes over."""

    def __init__(self, links: dict[str, Link], seed: int = 0) -> None:
        self._links = links
        self._rng = random.Random(seed)
        self._where: dict[bytes, Link] = {}
        self._due: list[tuple[float, int, Link, bytes]] = []
        self._frames = 0
        self._selector = selectors.DefaultSelector()
        for link in links.values():
            self._selector.register(link.socket, selectors.EVENT_READ, link)
        self._selector.register(sys.stdin, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the input ends."""
        while True:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._selector.select(wait):
                if key.data is not None:
                    self._read(key.data)
                elif line := sys.stdin.readline():
                    name, delay, loss = line.split()
                    self._links[name].delay = float(delay)
                    self._links[name].loss = float(loss)
                else:
                    return
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, link, frame = heapq.heappop(self._due)
                try:
                    link.socket.send(frame)
                except OSError:  # the queue of the link is full, as it may be of a real one
                    continue

    def _read(self, link: Link) -> None:
        try:
            frame, (_, _, kind, *_) = link.socket.recvfrom(_MOST)
        except BlockingIOError:
            return
        if kind == _PACKET_OUTGOING or self._loses(link):
            return
        target, source = frame[_HEADER : _HEADER + 6], frame[_HEADER + 6 : _HEADER + 12]
        self._where[source] = link
        known = self._where.get(target)
        others = [one for one in self._links.values() if one is not link]
        for other in [known] if known and known is not link else others:
            if not self._loses(other):
                self._frames += 1
                due = time.monotonic() + link.delay + other.delay
                heapq.heappush(self._due, (due, self._frames, other, frame))

    def _loses(self, link: Link) -> bool:
        return self._rng.random() < link.loss


if __name__ == "__main__":
    Switch({name: Link.of(name) for name in sys.argv[1:]}).run()
