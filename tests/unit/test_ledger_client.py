"""The parent's side of the ledger: what it tells of one that says nothing."""

from typing import Any, cast

from daemon_rig import FakeLoop
from harness import Ends
from test_status_feed import Exporter
from tocsin.ipc.exporter import LedgerState
from tocsin.ipc.job import Pause
from tocsin.ipc.ledger import Committed
from tocsin.parent import ledger_client as module
from tocsin.parent.ledger_client import LedgerClient
from tocsin.parent.status_feed import StatusFeed


def test_a_ledger_that_hangs_is_not_up(ends: Ends) -> None:
    clock = FakeLoop()
    exporter = Exporter()
    client = LedgerClient(lambda: None, cast(Any, None), StatusFeed(exporter.take), clock)

    def told(seconds: float) -> LedgerState:
        clock.later(seconds)
        client.tell()
        state = exporter.heard[-1]
        assert isinstance(state, LedgerState)
        return state

    client.ready(0)
    assert told(3600.0) == LedgerState(True, 0), "there was nothing to commit"
    client.put(Pause("a", True, 60.0))
    client.put(Pause("b", True, 60.0))
    client._outbox.pump(ends[0])
    assert told(module.SILENT) == LedgerState(True, 2)
    assert told(1.0) == LedgerState(False, 2, "it has not committed for 16 s")
    client.said(Committed(1, 0.1))
    assert told(0.0).up
    client.said(Committed(2, 0.1))
    assert told(3600.0).up
    client.put(Pause("a", False, 60.0))
    assert not told(module.SILENT + 1).up
    client.died()
    assert told(0.0).detail == "its process died"
    client.ready(2)
    assert told(1.0).up, "it has time to commit what waited"
