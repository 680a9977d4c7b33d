"""Refused requests: each is counted, some are logged, and clients that guess credentials are answered late."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal, get_args

from tocsin import log

Refusal = Literal[
    "no_credentials", "wrong_credentials", "host", "malformed", "tls", "not_allowed", "forged", "too_many"
]
REFUSALS: tuple[Refusal, ...] = get_args(Refusal)
IN_WORDS: dict[Refusal, str] = {
    "no_credentials": "it has no credentials",
    "wrong_credentials": "its credentials are wrong",
    "host": "it uses a host name that is not in listen_hosts",
    "malformed": "it is not HTTP",
    "tls": "its TLS handshake failed",
    "not_allowed": "its credentials may not act",
    "forged": "it would act for a page of another site, or by a form that is not ours",
    "too_many": "there are too many actions",
}
QUIET = 60.0  # seconds between two lines with the same reason: somebody who guesses must not fill the log
FREE = 5  # wrong credentials of a peer that are answered at once: a typing error, or a rotated token
DELAY = 2.0  # seconds until each further one is answered: less than the 10 s for which Prometheus waits
FORGET = 300.0  # seconds after which a peer's wrong credentials are forgotten
PEERS = 1024  # peers whose wrong credentials are counted; one more replaces the one that was quiet for longest
LATE_AT_ONCE = 16  # delayed replies; more are not sent at all, because they would take up the connections
SHOWN = 100  # characters of a detail in the log


@dataclass(slots=True)
class _Line:
    """What was logged for one reason."""

    quiet: bool = False
    untold: int = 0
    peer: str = ""
    detail: str = ""


class Refusals:
    """`count` adds to the metric. `later` calls a function after some seconds. `clock` returns monotonic seconds."""

    def __init__(
        self,
        count: Callable[[Refusal], None],
        later: Callable[[float, Callable[[Refusal], None], Refusal], object],
        clock: Callable[[], float],
    ) -> None:
        self._count = count
        self._later = later
        self._clock = clock
        self._lines = {reason: _Line() for reason in REFUSALS}
        self._guesses: dict[str, tuple[int, float]] = {}  # by network: how many, and when the last one came

    def add(self, reason: Refusal, peer: str, detail: str = "") -> float:
        """A request was refused. Returns the seconds to wait before the answer. Right credentials never wait.

        `detail` is part of the request for the log, never a credential.
        """
        self._count(reason)
        line = self._lines[reason]
        line.untold, line.peer, line.detail = line.untold + 1, peer, detail[:SHOWN]
        if not line.quiet:
            self._tell(reason)
        return self._guessed(peer) if reason == "wrong_credentials" else 0.0

    def _tell(self, reason: Refusal) -> None:
        line = self._lines[reason]
        line.quiet = line.untold > 0
        if line.quiet:
            more = {"detail": line.detail or None, "requests": line.untold if line.untold > 1 else None}
            log.warning(f"refused a request: {IN_WORDS[reason]}", peer=line.peer, **more)
            line.untold = 0
            self._later(QUIET, self._tell, reason)

    def _guessed(self, peer: str) -> float:
        network, now = _network(peer), self._clock()
        count, last = self._guesses.pop(network, (0, now))
        count = 1 if now - last > FORGET else count + 1
        self._guesses[network] = count, now
        if len(self._guesses) > PEERS:
            del self._guesses[next(iter(self._guesses))]
        return DELAY if count > FREE else 0.0


def _network(peer: str) -> str:
    """Return the network of an address: a household has 2^64 addresses of IPv6."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if not isinstance(address, IPv6Address):
        return peer
    return peer if address.ipv4_mapped else str(ip_network((address, 64), strict=False))
