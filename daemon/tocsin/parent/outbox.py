"""What the ledger must know, kept until it says that it is durable, and sent again after its death."""

from collections import deque

from tocsin.ipc.channel import Channel
from tocsin.ipc.ledger import Body, Entry, FromLedger, ToLedger

BOUND = 100_000  # entries (about 40 MB) kept while the ledger is away; beyond it they are dropped and counted
IN_FLIGHT = 2_000  # entries sent and not yet committed: what the ledger has not read waits here, not there


class Outbox:
    def __init__(self, bound: int = BOUND) -> None:
        self._unsent: deque[Entry] = deque()
        self._sent: deque[Entry] = deque()
        self._bound = bound
        self._seq = 0
        self.dropped = 0

    def __len__(self) -> int:
        """Entries that are not durable yet."""
        return len(self._unsent) + len(self._sent)

    def put(self, body: Body) -> None:
        if len(self) >= self._bound:
            self.dropped += 1
            return
        self._seq += 1
        self._unsent.append(Entry(self._seq, body))

    def pump(self, channel: Channel[ToLedger, FromLedger]) -> None:
        """Send what the ledger can take now. Raises ChannelClosed."""
        while self._unsent and len(self._sent) < IN_FLIGHT and not channel.backlog:
            channel.send(self._unsent[0])
            self._sent.append(self._unsent.popleft())

    def rewind(self) -> None:
        """A new ledger process: what the old one did not commit goes out again, in the same order."""
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()

    def committed(self, seq: int) -> None:
        """Everything up to entry `seq` is durable."""
        while self._sent and self._sent[0].seq <= seq:
            self._sent.popleft()
