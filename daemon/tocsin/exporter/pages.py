"""The status pages. They are read-only. Every string is escaped, because the texts of servers may be hostile."""

import difflib
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tocsin import __version__
from tocsin.exporter import charts, runs
from tocsin.exporter.acts import DONE, Act, Viewer
from tocsin.exporter.pieces import SLOW_PIECE, Work, pieces
from tocsin.exporter.state import SLOTS_KEPT, KnownJob, State
from tocsin.exporter.tags import NOTHING, Had, Tag, digest
from tocsin.exporter.views import SORTS, View
from tocsin.exporter.words import FILTERS
from tocsin.health import LOOKS, Judged, headline, held
from tocsin.ipc.fates import FATES
from tocsin.ipc.history import TRIGGERS, WANTED, ActionRows, Actions, OneRun, Question, Row, Rows, Slots
from tocsin.timestamps import rfc3339
from tocsin.units import size

NEAREST, NEAR = 5, 0.5  # similar names offered for an unknown one, and how similar they must be
HISTORY_KEPT = 15.0  # seconds for which a page of the history counts as new though nothing was committed here
PAGE_SHARED = 1.0  # seconds for which several readers get the same bytes: a crowd of them costs one rendering
MOST_SHARED = 8  # pages, which may have a megabyte each
NOBODY = Viewer()
ACTIONS_SHOWN = 10  # on the page of a job
LONGEST_NAME = 63  # characters: no job's name is longer


@dataclass(frozen=True, slots=True)
class StaticFile:
    content_type: str
    content: bytes
    url: str


def _static() -> dict[str, StaticFile]:
    """The files of static/ by name. Their URLs have a digest of the content, so browsers may cache them."""
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    found = {}
    for file in files(__package__).joinpath("static").iterdir():
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:12]
        kind = types[file.name.rpartition(".")[2]]
        found[file.name] = StaticFile(f"{kind}; charset=utf-8", content, f"/static/{file.name}?{digest}")
    return found


@dataclass(frozen=True, slots=True)
class Page:
    """`body` is None if the browser has this state of the page."""

    tag: Tag
    body: bytes | None


class Pages:
    def __init__(self, state: State) -> None:
        self._state = state
        self.static = _static()
        self._rows: dict[tuple[str, bool], _Row] = {}
        self._boot = os.urandom(6).hex()
        self._serial = 0  # of the row that was rendered last
        self._shared: dict[tuple[str, str, str], tuple[float, Page]] = {}  # by what it is, with the time of rendering
        self._templates = Environment(
            loader=PackageLoader(__package__),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(FILTERS)
        self._templates.globals.update(
            version=__version__,
            static={name: file.url for name, file in self.static.items()},
            charts=charts,
            slots_kept=SLOTS_KEPT,
            healths=LOOKS,
            looks=FATES,
        )
        self._row = self._templates.get_template("row.html")

    def overview(
        self, view: View, now: float, clock: float, had: Had = NOTHING, viewer: Viewer = NOBODY, did: str = ""
    ) -> Work[Page]:
        """Render the page `/`. `now` is Unix time, `clock` is monotonic seconds. The page has the jobs of one moment;
        each row shows its job as it is when its turn comes, with the health that it had a moment before.

        A browser that `had` an earlier state of it gets only the rows that changed since. Where also other rows come
        or the order is another, it gets a row without content for each row that it has.
        """
        found = yield from self._state.judged(now, clock)
        jobs = {job.status.name: job for job, _ in found}
        judged = {job.status.name: health for job, health in found}
        self._rows = {key: row for key, row in self._rows.items() if key[0] in jobs}
        fires = [job.status.next_fire for job in jobs.values() if job.status.enabled and job.status.next_fire]
        fitting = []
        for some in pieces(jobs.items()):
            fitting += [(name, job) for name, job in some if view.fits(job)]
            yield
        shown = [row for row in fitting if view.health in ("", judged[row[0]].health)]
        troubles = self._state.troubles(clock)
        if why_none := held(troubles):  # the page says it once, above the table
            judged = {name: Judged(one.health) if one.why == why_none else one for name, one in judged.items()}
        words, number = headline(troubles, Counter(one.health for one in judged.values()))
        yield
        rows = yield from self._rendered(view.ordered(shown, judged), judged, viewer.may_act)
        yield
        order = digest(view, [row.name for row in rows])
        base = had.base(self._boot_of(viewer))
        is_same_order = base is not None and base.order == order
        if base:
            whole = [row for row in rows if row.serial > base.serial or not is_same_order]
            sent = [row.html if row.serial > base.serial else row.unchanged for row in whole]
        else:
            sent = [row.html for row in rows]
        yield
        facts: dict[str, Any] = {
            "headline": words,
            "number": number,
            "labels": sorted({f"{name}:{value}" for job in jobs.values() for name, value in job.status.labels}),
            "counts": Counter(judged[name].health for name, _ in fitting),
            "total": len(jobs),
            "viewer": viewer,
            "said": DONE.get(did),
            "next_fire": min((fire for fire in fires if fire > now), default=None),
        }
        yield
        key = order, [row.serial for row in rows], facts
        table = Markup("".join(sent))
        rest = {"view": view, "sorts": SORTS, "rows": table, "shown": len(rows), "is_same_order": is_same_order}
        boot = self._boot_of(viewer)
        yield
        return self._page(
            "overview.html", now, clock, had, key, order=order, boot=boot, share=base is None, **facts, **rest
        )

    def _rendered(
        self, jobs: Iterable[tuple[str, KnownJob]], judged: Mapping[str, Judged], may_act: bool
    ) -> "Work[list[_Row]]":
        """Render the rows of the table. The row of a job to which nothing happened is reused."""
        rows = []
        for name, job in jobs:
            key = job.changes, judged[name]
            row = self._rows.get((name, may_act))
            if row is None or row.job is not job or row.key != key:
                html = self._row.render(
                    job=job, status=job.status, judged=judged[name], bars=charts.bars(job.slots), may_act=may_act
                )
                self._serial += 1
                row = self._rows[name, may_act] = _Row(name, job, key, Markup(html), self._serial)
                if self._serial % SLOW_PIECE == 0:
                    yield
            rows.append(row)
        return rows

    def job(
        self, job: KnownJob, now: float, clock: float, had: Had = NOTHING, viewer: Viewer = NOBODY, did: str = ""
    ) -> Page:
        self._state.want_memory(clock)
        name, next_fire = job.status.name, self._next_fire(job, now)
        judged = self._state.judged_now(job, now, clock)
        return self._page(
            *("job.html", now, clock, had),
            key=(name, job.changes, judged, next_fire, size(job.memory), viewer, did),
            share=True,
            job=job,
            status=job.status,
            next_fire=next_fire,
            judged=judged,
            bars=charts.bars(job.slots, apart=True),
            plot=charts.durations(job.slots),
            actions=self._state.actions_of(name)[:ACTIONS_SHOWN],
            viewer=viewer,
            said=DONE.get(did),
        )

    def _next_fire(self, job: KnownJob, now: float) -> float | None:
        """Return the next fire. While a job runs, its status still has the instant of that run."""
        status = job.status
        return job.expected.next_due(status, now) if status.state == "running" else status.next_fire

    def runs(self, wanted: Slots, job: str | None, found: Rows | None, why: str, now: float, clock: float) -> Page:
        """Render the history, of one job if `job` is given. `why` says why there is nothing to show."""
        path = f"/jobs/{job}/runs" if job else "/runs"
        more = found.more if found else None
        from_instant = rfc3339(wanted.before.due) if wanted.before and not wanted.before.job else None
        return self._page(
            *("runs.html", now, clock),
            key=self._of_history(clock, wanted),
            wanted=wanted,
            job=job,
            path=path,
            rows=found.rows if found else (),
            more=runs.link(wanted, more, path) if more else None,
            reached=more.due if more else None,
            newest=runs.link(wanted, None, path),
            is_filtered=wanted not in (Slots(job), Slots(job, before=wanted.before)),
            from_instant=from_instant,
            outcomes=("failed", *(one for one in WANTED if one != "failed")),
            triggers=TRIGGERS,
            why=why,
        )

    def run(self, rows: Sequence[Row], now: float, clock: float) -> Page:
        """Render one run, with each of its deliveries, the latest first."""
        key = self._of_history(clock, OneRun(rows[0].run_id or ""))
        return self._page("run.html", now, clock, key=key, run=rows[0], rows=rows, meaning=runs.meaning(rows[0]))

    def has_history(self, had: Had, question: Question, clock: float) -> Tag | None:
        """Return the tag of a page of the history if the browser has it already. Then nobody need be asked for it."""
        tag = self._tag(self._of_history(clock, question), clock)
        return tag if had.has(tag) else None

    def _of_history(self, clock: float, question: Question) -> tuple[object, ...]:
        """What decides on a page of the history: it changes with a commit, or on PostgreSQL by those of others."""
        return question, self._state.commits, int(clock / HISTORY_KEPT), sorted(self._state.jobs)

    def actions(self, wanted: Actions, job: str | None, found: ActionRows | None, why: str, *when: float) -> bytes:
        """Render what people did, on one job if `job` is given. `why` says why there is nothing to show."""
        now, clock = when
        path = f"/jobs/{job}/actions" if job else "/actions"
        more = runs.actions_link(wanted, found, path) if found else None
        rows = found.actions if found else ()
        page = self._page("actions.html", now, clock, key=object(), job=job, rows=rows, more=more, path=path, why=why)
        return page.body or b""

    def not_done(self, act: Act, why: str, now: float, clock: float) -> bytes:
        """Render the page that says why an action was not carried out."""
        return self._page("not_done.html", now, clock, act=act, why=why).body or b""

    def _boot_of(self, viewer: Viewer) -> str:
        """Rows with buttons are others than those without."""
        return self._boot[:-1] + str(int(viewer.may_act))

    def nothing_here(self, path: str, now: float, clock: float) -> bytes:
        kind, _, name = path.removeprefix("/").partition("/")
        names = self._state.jobs if kind == "jobs" else ()
        near = difflib.get_close_matches(name[:LONGEST_NAME], names, NEAREST, NEAR)
        return self._page("nothing.html", now, clock, path=path[:200], kind=kind, near=near).body or b""

    def _page(
        self,
        template: str,
        now: float,
        clock: float,
        had: Had = NOTHING,
        key: object = None,
        order: str = "0" * 12,
        boot: str = "",
        share: bool = False,
        **values: object,
    ) -> Page:
        """`key` decides on what the page says, apart from the times that a browser counts. `share`: several who ask at
        the same time may get the same bytes."""
        tag = self._tag(key, clock, order, boot)
        if had.has(tag):
            return Page(tag, None)
        self._shared = {name: one for name, one in self._shared.items() if clock - one[0] < PAGE_SHARED}
        name = template, tag.boot, tag.digest
        if share and name in self._shared:
            return self._shared[name][1]
        troubles = self._state.troubles(clock)
        html = self._templates.get_template(template).render(
            now=now, state=self._state, troubles=troubles, tag=tag, **values
        )
        page = Page(tag, html.encode())
        if share and len(self._shared) < MOST_SHARED:
            self._shared[name] = clock, page
        return page

    def _tag(self, key: object, clock: float, order: str = "0" * 12, boot: str = "") -> Tag:
        state = self._state
        whole = digest(key, state.troubles(clock), state.config, state.ledger)
        return Tag(boot or self._boot, self._serial, order, whole)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the overview. `serial` grows with each one that is rendered."""

    name: str
    job: KnownJob
    key: tuple[int, Judged]
    html: Markup
    serial: int

    @property
    def unchanged(self) -> Markup:
        """What stands for it where a browser has it."""
        return Markup('<tr data-name="{}" data-same></tr>').format(self.name)
