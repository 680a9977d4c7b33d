"""Entries for the ledger, kept until they are committed, and sent again after its process died."""

from collections import deque

from tocsin.ipc.channel import Channel
from tocsin.ipc.ledger import Body, Entry, FromLedger, ToLedger

BOUND = 100_000  # entries (about 40 MB) kept while the ledger is down; more are dropped and counted
IN_FLIGHT = 2_000  # entries sent and not yet committed; the others wait here and not in the ledger


class Outbox:
    def __init__(self, bound: int = BOUND) -> None:
        self._unsent: deque[Entry] = deque()
        self._sent: deque[Entry] = deque()
        self._bound = bound
        self._seq = 0
        self.dropped = 0

    def __len__(self) -> int:
        """The number of entries that are not committed yet."""
        return len(self._unsent) + len(self._sent)

    def put(self, body: Body, epoch: int = 0) -> None:
        if len(self) >= self._bound:
            self.dropped += 1
            return
        self._seq += 1
        self._unsent.append(Entry(self._seq, body, epoch))

    def pump(self, channel: Channel[ToLedger, FromLedger]) -> None:
        """Send as many entries as the ledger can accept now. Raises ChannelClosed."""
        while self._unsent and len(self._sent) < IN_FLIGHT and not channel.backlog:
            channel.send(self._unsent[0])
            self._sent.append(self._unsent.popleft())

    def rewind(self) -> None:
        """Send again, in the same order, what the old ledger process did not commit."""
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()

    def committed(self, seq: int) -> None:
        """Everything up to entry `seq` is committed."""
        while self._sent and self._sent[0].seq <= seq:
            self._sent.popleft()
