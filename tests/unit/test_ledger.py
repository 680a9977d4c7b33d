"""The ledger on real files: what is committed is there, once; what cannot be written leaves nothing half done."""

import gc
import itertools
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin import channel as channels
from tocsin.channel import Channel, ChannelClosed
from tocsin.ledger import main as process
from tocsin.ledger.history import history
from tocsin.ledger.sqlite import FILE, PRUNE_AT_ONCE, SqliteLedger, Unusable
from tocsin.messages import (
    Ask,
    Committed,
    Deny,
    Enroll,
    Enrolled,
    Entry,
    Finished,
    Grant,
    LedgerReady,
    LedgerTrouble,
    LedgerUnusable,
    Message,
    NotRunReason,
    Outcome,
    Past,
    Pause,
    Release,
    Skipped,
    Stop,
    Trigger,
)
from tocsin.parent.outbox import Body

T = 1_800_000_000


class Books:
    """A ledger and the number of its next entry."""

    def __init__(self, folder: Path, session: str = "s1") -> None:
        self.folder = folder
        self.ledger = SqliteLedger(folder, session)
        self._seq = itertools.count(1)
        self.last: list[Entry] = []

    def put(self, *bodies: Body) -> list[Grant | Deny | Past]:
        """Commit in one transaction."""
        self.last = [Entry(next(self._seq), body) for body in bodies]
        return self.ledger.commit(self.last)

    def rows(self, **filters: Any) -> list[dict[str, Any]]:
        return history(self.folder, **{"limit": 1000, **filters})

    def brief(self) -> list[tuple[float, str, str | None, int]]:
        return [(row["due"] - T, row["state"], row["outcome"] or row["reason"], row["count"]) for row in self.rows()]

    def past(self, job: str = "a", schedule: str = "* * * * * UTC", roster: int = 1, now: float = T + 0.5) -> Past:
        (past,) = self.put(Enroll(job, schedule, roster, now))
        assert isinstance(past, Past)
        return past

    def close(self) -> None:
        self.ledger._db.close()


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    one = Books(tmp_path)
    yield one
    one.close()


@pytest.fixture
def again(books: Books) -> Iterator[Callable[[str], Books]]:
    """The ledger opened anew, by another process of the same or the next daemon."""
    opened = []

    def reopen(session: str) -> Books:
        books.close()
        opened.append(Books(books.folder, session))
        return opened[-1]

    yield reopen
    for one in opened:
        one.close()


def ask(due: float = T, attempt: int = 0, trigger: Trigger = "schedule", owner: str = "s1/1", job: str = "a") -> Ask:
    return Ask(job, due, f"run-{due}-{attempt}", trigger, attempt, owner)


def finished(
    due: float = T, outcome: Outcome = "success", attempt: int = 0, job: str = "a", at: float = T + 1
) -> Finished:
    return Finished(job, due, f"run-{due}-{attempt}", "schedule", attempt, outcome, f"it was {outcome}", finished=at)


def skipped(first: float, last: float, count: int, reason: NotRunReason = "missed", detail: str = "") -> Skipped:
    return Skipped("a", first, last, count, reason, detail)


# ---- the slots


def test_a_slot_is_granted_once(books: Books) -> None:
    assert books.put(ask()) == [Grant("a", T)]
    assert books.put(ask(owner="s1/2")) == [Deny("a", T, 0, "the slot is started already")]
    assert books.put(finished()) == []
    assert books.put(ask()) == [Deny("a", T, 0, "the slot is finished already")]
    assert books.put(ask(job="b"), ask(T + 60), ask(T, attempt=1)) == [
        Grant("b", T),
        Grant("a", T + 60),
        Grant("a", T, 1),
    ]


def test_a_run_is_kept_with_all_that_is_known(books: Books) -> None:
    run = Finished(
        job="a",
        due=T,
        run_id="run",
        trigger="catch-up",
        attempt=0,
        outcome="http_error",
        detail="503: ü \x00 'quoted'; DROP TABLE slots",
        status=503,
        started=T + 0.002,
        finished=T + 0.5,
        lateness=0.002,
        duration=0.498,
        reported={"unassigned": 3.0},
    )
    books.put(ask(), run)
    (row,) = books.rows()
    for name in (
        "job",
        "due",
        "outcome",
        "detail",
        "status",
        "started",
        "finished",
        "lateness",
        "duration",
        "reported",
    ):
        assert row[name] == getattr(run, name)
    assert (row["state"], row["count"], row["last"], row["owner"]) == ("finished", 1, T, "s1/1")


def test_a_run_ends_once(books: Books) -> None:
    books.put(ask(), finished(outcome="lost"))
    books.put(finished(outcome="success"))
    assert books.brief() == [(0, "finished", "lost", 1)]


def test_a_run_without_a_row_is_kept_all_the_same(books: Books) -> None:
    """Its Ask was dropped when the outbox was full."""
    books.put(finished())
    assert books.brief() == [(0, "finished", "success", 1)]


def test_a_released_slot_is_free_again(books: Books) -> None:
    books.past(now=T - 60)
    books.put(ask())
    assert books.past().last_due == T
    books.put(Release("a", T, 0, "s1/1"))
    assert books.rows() == []
    assert books.past().last_due == T - 1
    assert books.put(ask(owner="s1/2")) == [Grant("a", T)]


@pytest.mark.parametrize("before", [[], [finished()]])
def test_only_the_owner_releases_and_only_what_is_open(books: Books, before: list[Body]) -> None:
    books.put(ask(), *before)
    kept = books.rows()
    books.put(Release("a", T, 0, "s1/1" if before else "s1/9"))
    assert books.rows() == kept


def test_a_withdrawn_ask_is_a_missed_slot(books: Books) -> None:
    books.put(ask(), skipped(T, T, 1, "missed", "too late"))
    assert books.brief() == [(0, "missed", "missed", 1)]
    assert books.rows()[0]["detail"] == "too late"
    assert books.put(ask()) == [Deny("a", T, 0, "the slot is missed already")]


def test_a_withdrawn_manual_run(books: Books) -> None:
    books.past(now=T - 60)
    books.put(ask(T + 0.5, trigger="manual"))
    assert books.past().last_due == T - 60, "a manual run says nothing about the schedule"
    books.put(skipped(T + 0.5, T + 0.5, 1))
    assert books.past().last_due == T - 60
    assert books.brief() == [(0.5, "missed", "missed", 1)]


def test_slots_that_did_not_run_for_one_reason_are_one_row(books: Books) -> None:
    books.put(skipped(T, T, 1, "paused"), skipped(T + 60, T + 120, 2, "paused"))
    books.put(skipped(T + 180, T + 180, 1, "paused"))
    assert books.brief() == [(0, "skipped", "paused", 4)]
    assert books.rows()[0]["last"] == T + 180
    books.put(skipped(T + 240, T + 300, 2, "missed", "why"))
    books.put(skipped(T + 360, T + 360, 1, "missed", "another why"))
    books.put(skipped(T + 420, T + 420, 1, "overlap"))
    assert books.brief()[1:] == [
        (240, "missed", "missed", 2),
        (360, "missed", "missed", 1),
        (420, "skipped", "overlap", 1),
    ]


def test_a_run_between_parts_the_rows(books: Books) -> None:
    books.put(skipped(T, T, 1, "overlap"), ask(T + 60), finished(T + 60), skipped(T + 120, T + 120, 1, "overlap"))
    assert [row[0] for row in books.brief()] == [0, 60, 120]


def test_the_rows_of_other_jobs_are_others(books: Books) -> None:
    books.put(
        skipped(T, T, 1, "paused"), Skipped("b", T + 30, T + 30, 1, "paused"), skipped(T + 60, T + 60, 1, "paused")
    )
    assert [(row["job"], row["count"]) for row in books.rows()] == [("a", 2), ("b", 1)]


# ---- sent again


def test_entries_that_come_again_change_nothing(books: Books, again: Callable[[str], Books]) -> None:
    """The ledger died after its commit and before it could say so."""
    books.past(now=T - 60)
    bodies: list[Body] = [ask(), finished(), ask(T + 60), skipped(T + 120, T + 240, 3), Pause("a", True)]
    answers = books.put(*bodies)
    entries, kept, past = books.last, books.rows(), books.past()
    for session in ("s1", "s1"):
        books = again(session)
        assert books.ledger.commit(entries)[1:] == answers[1:], "who still waits for an answer gets it"
        assert books.rows() == kept
    books._seq = itertools.count(100)
    assert books.past() == past


def test_what_counts_up_is_counted_once(books: Books, again: Callable[[str], Books]) -> None:
    books.past(now=T - 60)
    books.put(skipped(T, T, 1), skipped(T + 60, T + 60, 1), finished(T + 120, "timeout"))
    entries, kept, past = books.last, books.rows(), books.past()
    assert past.consecutive_failures == 1
    books = again("s1")
    books.ledger.commit(entries)
    assert books.rows() == kept
    books._seq = itertools.count(100)
    assert books.past() == past


def test_a_release_that_comes_again_leaves_no_open_slot(books: Books, again: Callable[[str], Books]) -> None:
    books.put(ask(), Release("a", T, 0, "s1/1"))
    entries = books.last
    books = again("s1")
    answers = books.ledger.commit(entries)
    assert books.rows() == []
    assert not any(isinstance(answer, Grant) for answer in answers)
    books._seq = itertools.count(100)
    assert books.put(ask(owner="s1/2")) == [Grant("a", T)]


def test_part_known_part_new(books: Books, again: Callable[[str], Books]) -> None:
    books.put(skipped(T, T, 1))
    entries = [*books.last, Entry(2, skipped(T + 60, T + 60, 1))]
    books = again("s1")
    books.ledger.commit(entries)
    assert books.brief() == [(0, "missed", "missed", 2)]


def test_the_next_daemon_numbers_from_one_again(books: Books, again: Callable[[str], Books]) -> None:
    books.put(skipped(T, T, 1), skipped(T + 60, T + 60, 1))
    books = again("s2")
    books.put(skipped(T + 120, T + 120, 1))
    assert books.brief() == [(0, "missed", "missed", 3)]


bodies_of_a_life = st.lists(
    st.one_of(
        st.builds(
            ask, st.sampled_from([T, T + 60, T + 120]), st.sampled_from([0, 1]), owner=st.sampled_from(["s1/1", "s1/2"])
        ),
        st.builds(finished, st.sampled_from([T, T + 60, T + 120]), st.sampled_from(["success", "timeout"])),
        st.builds(skipped, st.just(T + 180), st.just(T + 240), st.just(2), st.sampled_from(["missed", "paused"])),
        st.builds(Release, st.just("a"), st.sampled_from([T, T + 60]), st.just(0), st.sampled_from(["s1/1", "s1/2"])),
        st.builds(Pause, st.just("a"), st.booleans()),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25)
@given(bodies_of_a_life, st.integers(0, 12), st.integers(0, 12))
def test_any_entries_that_come_again_leave_the_same_books(bodies: list[Body], committed: int, said: int) -> None:
    """Dying after `committed` entries, having said so of `said`, is the same as not dying."""
    committed = min(committed, len(bodies))
    said = min(said, committed)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        whole, broken = Books(Path(one)), Books(Path(two))
        enroll: Body = Enroll("a", "* * * * * UTC", 1, T - 60)
        for books in (whole, broken):
            books.put(enroll)
        whole.put(*bodies)
        entries = whole.last
        if committed:
            broken.ledger.commit(entries[:committed])
        broken.close()
        broken = Books(Path(two))
        if entries[said:]:
            broken.ledger.commit(entries[said:])
        assert broken.rows() == whole.rows()
        for books in (whole, broken):
            books._seq = itertools.count(100)
        assert broken.past() == whole.past()
        for books in (whole, broken):
            books.close()


# ---- the jobs


def test_a_new_job_begins_now(books: Books) -> None:
    assert books.past(now=T + 0.7) == Past("a", T)


def test_a_known_job_goes_on_where_it_was(books: Books) -> None:
    books.past(now=T)
    books.put(ask(T + 60), finished(T + 60), skipped(T + 120, T + 240, 3))
    assert books.past(roster=2, now=T + 900).last_due == T + 240


def test_another_schedule_begins_anew(books: Books) -> None:
    books.past(now=T)
    books.put(finished(T, "timeout"))
    past = books.past(schedule="@hourly UTC", roster=2, now=T + 900.5)
    assert (past.last_due, past.last_outcome, past.consecutive_failures) == (T + 900, "timeout", 1)


def test_a_pause_is_kept(books: Books, again: Callable[[str], Books]) -> None:
    books.past()
    books.put(Pause("a", True))
    books = again("s2")
    assert books.past().paused
    books.put(Pause("a", False))
    assert not books.past().paused


def test_what_is_no_longer_in_the_roster_is_forgotten_but_for_its_slots(books: Books) -> None:
    books.past("a", now=T)
    books.past("b", now=T)
    books.put(Enrolled(1), ask(), Pause("b", True))
    books.put(Enroll("a", "* * * * * UTC", 2, T + 900), Enrolled(2))
    assert books.past("a", roster=3, now=T + 1000).last_due == T
    assert books.past("b", roster=3, now=T + 1000) == Past("b", T + 1000)
    assert len(books.rows()) == 1


def test_the_past_of_a_job(books: Books) -> None:
    books.past()
    outcomes: list[Outcome] = ["success", "timeout", "lost", "cancelled"]
    for number, outcome in enumerate(outcomes):
        books.put(finished(T + 60 * number, outcome, at=T + 60 * number + 5))
    past = books.past(roster=2)
    assert (past.last_outcome, past.last_detail) == ("cancelled", "it was cancelled")
    assert (past.last_run, past.last_success) == (T + 185, T + 5)
    assert past.consecutive_failures == 2, "a cancelled run is neither"
    books.put(finished(T + 300))
    assert books.past(roster=3).consecutive_failures == 0


# ---- after the daemon's death


def test_runs_that_an_earlier_daemon_left_open_are_lost(books: Books, again: Callable[[str], Books]) -> None:
    books.past(now=T - 60)
    books.put(ask(), finished(), ask(T + 60), ask(T + 90.5, trigger="manual"))
    books = again("s2")
    lost = books.ledger.recover(T + 500.0)
    assert [(one.due - T, one.outcome, one.trigger, one.run_id) for one in lost] == [
        (60, "lost", "schedule", f"run-{T + 60}-0"),
        (90.5, "lost", "manual", f"run-{T + 90.5}-0"),
    ]
    assert [row[2] for row in books.brief()] == ["success", "lost", "lost"]
    assert books.past().consecutive_failures == 2
    assert books.ledger.recover(T + 501.0) == []


def test_runs_of_this_daemon_are_not_lost_when_the_ledger_alone_died(
    books: Books, again: Callable[[str], Books]
) -> None:
    books.put(ask(owner="s1/7"))
    books = again("s1")
    assert books.ledger.recover(T + 500.0) == []
    assert books.brief() == [(0, "started", None, 1)]


def test_a_session_whose_name_begins_alike_is_another(books: Books, again: Callable[[str], Books]) -> None:
    books.put(ask(owner="s1/7"))
    assert len(again("s").ledger.recover(T + 1.0)) == 1


# ---- pruning


def test_old_rows_are_deleted_some_at_a_time(books: Books) -> None:
    books.put(*[finished(T + number) for number in range(PRUNE_AT_ONCE + 5)])
    before = T + PRUNE_AT_ONCE + 3
    assert books.ledger.prune(before) == PRUNE_AT_ONCE
    assert books.ledger.prune(before) == 3
    assert books.ledger.prune(before) == 0
    assert len(books.rows()) == 2


def test_what_is_open_or_reaches_into_the_kept_time_stays(books: Books) -> None:
    books.put(ask(), skipped(T + 60, T + 600, 10))
    assert books.ledger.prune(T + 300) == 0
    assert books.ledger.prune(T + 601) == 1
    assert books.brief() == [(0, "started", None, 1)]


# ---- reading


@pytest.fixture
def filled(books: Books) -> Books:
    books.put(ask(), finished(), finished(T + 60, "timeout"), skipped(T + 120, T + 240, 3), ask(T + 300))
    books.put(finished(T + 30, job="b"), skipped(T + 360, T + 360, 1, "overlap"), finished(T + 420, "cancelled"))
    return books


@pytest.mark.parametrize(
    ("filters", "dues"),
    [
        ({}, [0, 30, 60, 120, 300, 360, 420]),
        ({"job": "a"}, [0, 60, 120, 300, 360, 420]),
        ({"job": "nobody"}, []),
        ({"since": T + 60}, [60, 120, 300, 360, 420]),
        ({"since": T + 200}, [120, 300, 360, 420]),
        ({"failed": True}, [60, 120, 420]),
        ({"limit": 2}, [360, 420]),
        ({"job": "a", "since": T + 60, "failed": True, "limit": 1}, [420]),
        ({"job": "' OR 1=1 --"}, []),
    ],
)
def test_history(filled: Books, filters: dict[str, Any], dues: list[float]) -> None:
    assert [row["due"] - T for row in filled.rows(**filters)] == dues


def test_history_reads_while_the_daemon_writes(filled: Books) -> None:
    kept = filled.rows()
    filled.ledger._db.execute("BEGIN IMMEDIATE")
    filled.ledger._ask(ask(T + 900), new=True)
    assert filled.rows() == kept
    filled.ledger._db.execute("COMMIT")
    assert len(filled.rows()) == len(kept) + 1


def test_no_ledger_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        history(tmp_path)
    assert not list(tmp_path.iterdir()), "reading makes no file"
    (tmp_path / FILE).write_bytes(b"garbage, and long enough to look like something " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        history(tmp_path)


def test_history_of_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c %20"
    folder.mkdir()
    books = Books(folder)
    books.put(finished())
    assert len(books.rows()) == 1
    books.close()


# ---- files that are none


def test_the_file_is_for_this_user_alone(books: Books) -> None:
    books.put(ask())
    for file in books.folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_a_power_cut_loses_no_commit(books: Books) -> None:
    assert books.ledger._db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert books.ledger._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_newer_schema_is_refused_and_left_alone(books: Books, again: Callable[[str], Books]) -> None:
    books.put(finished())
    books.ledger._db.execute("PRAGMA user_version = 99")
    with pytest.raises(Unusable, match=r"was written by a newer Tocsin \(schema 99, this one knows 1\)"):
        again("s2")
    assert len(history(books.folder)) == 1


def test_a_damaged_file_is_said_and_left_alone(tmp_path: Path) -> None:
    garbage = b"this is not a database " * 500
    (tmp_path / FILE).write_bytes(garbage)
    with pytest.raises(Unusable) as raised:
        SqliteLedger(tmp_path, "s1")
    why = str(raised.value)
    assert str(tmp_path / FILE) in why
    for word in ("is damaged", "Nothing was changed", "backup", ".recover", "-wal"):
        assert word in why
    assert (tmp_path / FILE).read_bytes() == garbage


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(Unusable, match=r"cannot open the ledger .*unable to open database file"):
        SqliteLedger(tmp_path, "s1")


@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_that_this_user_may_not_write(existing: bool) -> None:
    """Root may write everywhere, so a root that tests becomes nobody for a moment."""
    folder = Path(tempfile.mkdtemp())
    try:
        if existing:
            Books(folder).close()
            (folder / FILE).chmod(0o444)
        folder.chmod(0o555)
        if root := os.geteuid() == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(Unusable, match=r"cannot open the ledger .*may this user write"):
                SqliteLedger(folder, "s2")
        finally:
            if root:
                os.seteuid(0)
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


# ---- a full disk


def test_a_full_disk_leaves_nothing_half_applied(books: Books) -> None:
    books.past(now=T - 60)
    books.put(ask())
    db = books.ledger._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    kept, open_before = books.rows(), books.ledger._seq
    bodies: list[Body] = [
        finished(),
        *[skipped(T + 60 * n, T + 60 * n, 1, "missed", f"{n} " + "x" * 400) for n in range(1, 200)],
    ]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        books.put(*bodies)
    entries = books.last
    assert not db.in_transaction
    assert (books.rows(), books.ledger._seq) == (kept, open_before)
    with pytest.raises(sqlite3.OperationalError):
        books.ledger.commit(entries)
    db.execute("PRAGMA max_page_count = 1000000")
    assert books.ledger.commit(entries) == []
    assert len(books.rows()) == 200
    assert books.rows()[0]["outcome"] == "success"


def test_an_error_in_the_middle_leaves_nothing_half_applied(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after which SQLite itself does not roll back."""
    apply = books.ledger._apply

    def failing(body: Any, *, new: bool) -> Any:
        if isinstance(body, Finished):
            raise sqlite3.OperationalError("disk I/O error")
        return apply(body, new=new)

    monkeypatch.setattr(books.ledger, "_apply", failing)
    with pytest.raises(sqlite3.OperationalError):
        books.put(ask(), finished())
    assert books.rows() == []
    assert not books.ledger._db.in_transaction
    monkeypatch.undo()
    assert books.ledger.commit(books.last) == [Grant("a", T)]
    assert books.brief() == [(0, "finished", "success", 1)]


# ---- the process


Ends = tuple[Channel, Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    a, b = channels.pair()
    ours, theirs = Channel(a, blocking=False), Channel(b, blocking=True)
    yield ours, theirs
    ours.close()
    theirs.close()


def said(channel: Channel) -> list[Message]:
    return list(channel.waiting(1000))


def test_the_process_answers_what_it_has_committed(ends: Ends, tmp_path: Path) -> None:
    for message in (Entry(1, ask()), Entry(2, ask(T + 60)), Entry(3, finished()), Stop()):
        ends[0].send(message)
    process.main(ends[1], tmp_path, "s1", keep=1e9)
    ready, one, two, committed = said(ends[0])
    assert ready == LedgerReady()
    assert [one, two] == [Grant("a", T), Grant("a", T + 60)]
    assert isinstance(committed, Committed)
    assert committed.seq == 3
    assert len(history(tmp_path)) == 2


def test_the_process_tells_of_lost_runs_first(ends: Ends, tmp_path: Path) -> None:
    books = Books(tmp_path, "s0")
    books.put(ask(owner="s0/1"))
    books.close()
    ends[0].send(Stop())
    process.main(ends[1], tmp_path, "s1", keep=1e9)
    lost, ready = said(ends[0])
    assert isinstance(lost, Finished)
    assert (lost.due, lost.outcome) == (T, "lost")
    assert ready == LedgerReady("the daemon had died")


def test_the_process_tells_that_the_one_before_was_stopped(ends: Ends, tmp_path: Path) -> None:
    for session in ("s0", "s1"):
        ends[0].send(Stop())
        process.main(ends[1], tmp_path, session, keep=1e9)
    assert said(ends[0]) == [LedgerReady(), LedgerReady("the daemon was stopped")]


def test_a_ledger_that_cannot_be_used_says_so_and_ends(ends: Ends, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"garbage" * 1000)
    process.main(ends[1], tmp_path, "s1", keep=1e9)
    (message,) = said(ends[0])
    assert isinstance(message, LedgerUnusable)


def test_the_process_ends_with_its_parent(ends: Ends, tmp_path: Path) -> None:
    ends[0].close()
    with pytest.raises(ChannelClosed):
        process.main(ends[1], tmp_path, "s1", keep=1e9)


def test_trouble_is_said_once_and_its_end_too(ends: Ends, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is kept and tried again."""
    monkeypatch.setattr(process, "RETRY", 0.0)
    tries = iter([True, True, True, False])
    commit = books.ledger.commit

    def failing(entries: Any) -> Any:
        if next(tries):
            raise sqlite3.OperationalError("database or disk is full")
        return commit(entries)

    monkeypatch.setattr(books.ledger, "commit", failing)
    process._commit(books.ledger, [Entry(1, ask())], ends[1])
    first, second, grant, committed = said(ends[0])
    assert isinstance(first, LedgerTrouble)
    assert "database or disk is full" in first.detail
    assert second == LedgerTrouble("")
    assert grant == Grant("a", T)
    assert isinstance(committed, Committed)


def test_pruning_that_fails_is_no_failure(books: Books) -> None:
    books.close()
    books.ledger._db = sqlite3.connect(":memory:")
    assert process._prune(books.ledger, 1.0) == 0


def test_its_process_collects_garbage_though_the_parent_does_not(tmp_path: Path) -> None:
    ours, theirs = channels.pair()
    parent, child = Channel(ours, blocking=False), Channel(theirs, blocking=True)
    parent.send(Stop())
    gc.disable()
    try:
        process.main(child, tmp_path, "session", 3600.0)
        assert gc.isenabled()
    finally:
        gc.enable()
        parent.close()
        child.close()
