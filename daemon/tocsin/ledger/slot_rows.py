"""The rows of slots that a transaction adds, replaces and extends, kept in memory until they are written."""

from collections.abc import Mapping

from tocsin.ipc.job import Ask, Skipped
from tocsin.ledger.rows import Key, SlotRow, Taken


class SlotRows:
    """`taken` has what is known of each slot that the entries name and that has a row. `newest` has the latest row of
    each job that is enrolled or has skipped slots."""

    def __init__(self, taken: Mapping[Key, Taken], newest: Mapping[str, SlotRow]) -> None:
        self.taken = dict(taken)
        self.newest = dict(newest)
        self.new: dict[Key, SlotRow] = {}
        self.replaced: dict[Key, SlotRow] = {}
        self.continued: dict[Key, SlotRow] = {}

    def extend(self, body: Skipped, state: str, detail: str, run: Ask | None) -> bool:
        """Extend the row before, if it has the same state, reason and detail. Returns whether it did."""
        before = self.newest.get(body.job)
        if before is None or (run and run.due >= before.due):
            return False
        if before.last >= body.first or (before.state, before.reason, before.detail) != (state, body.reason, detail):
            return False
        before.last, before.count = body.last, before.count + body.count
        if before.key not in self.new:
            self.continued[before.key] = before
        return True

    def insert(self, row: SlotRow) -> None:
        """Add a row, unless the slot has one."""
        if row.key in self.taken:
            return
        self.taken[row.key] = Taken(row.state, row.outcome, row.run_id)
        self.new[row.key] = row
        newest = self.newest.get(row.job)
        if newest is None or (row.due, row.attempt) > (newest.due, newest.attempt):
            self.newest[row.job] = row

    def is_lost(self, key: Key) -> bool:
        return key in self.taken and self.taken[key].outcome == "lost"

    def replace(self, row: SlotRow) -> None:
        """Replace the row of a run that was recorded as lost."""
        before = self.taken[row.key]
        row.run_id, row.trigger = before.run_id, row.trigger or "schedule"
        self.taken[row.key] = Taken(row.state, row.outcome, row.run_id)
        if row.key in self.new:
            self.new[row.key] = row
        else:
            self.replaced[row.key] = row
