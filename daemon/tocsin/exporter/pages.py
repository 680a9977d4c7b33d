"""The status pages. They are read-only. Every string is escaped, because the texts of servers may be hostile."""

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tocsin import __version__
from tocsin.exporter import charts, runs
from tocsin.exporter.state import SLOTS_KEPT, KnownJob, Slot, State
from tocsin.exporter.views import SORTS, View
from tocsin.health import LOOKS, Judged, headline, held, pause_in_words
from tocsin.ipc.fates import FATES, Fate
from tocsin.ipc.history import TRIGGERS, WANTED, Row, Rows, Slots
from tocsin.schedule.zones import load_zone
from tocsin.timestamps import rfc3339
from tocsin.units import duration, size

NEAREST, NEAR = 5, 0.5  # similar names offered for an unknown one, and how similar they must be
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


class Pages:
    def __init__(self, state: State) -> None:
        self._state = state
        self.static = _static()
        self._rows: dict[str, tuple[KnownJob, tuple[int, Judged], Markup]] = {}
        self._templates = Environment(
            loader=PackageLoader(__package__),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            at=_at,
            at_ms=_at_ms,
            us=_us,
            in_zone=_in_zone,
            sentence=_sentence,
            size=size,
            seconds=_seconds,
            number=_number,
            fate=_fate,
            instant=_instant,
            told=_told,
            pause=pause_in_words,
            among=_among,
        )
        self._templates.globals.update(
            version=__version__,
            static={name: file.url for name, file in self.static.items()},
            charts=charts,
            slots_kept=SLOTS_KEPT,
            healths=LOOKS,
            looks=FATES,
        )
        self._row = self._templates.get_template("row.html")

    def overview(self, view: View, now: float, clock: float) -> bytes:
        """Render the page `/`. `now` is Unix time, `clock` is monotonic seconds."""
        jobs, judged = self._state.jobs, self._state.judged(now, clock)
        self._rows = {name: row for name, row in self._rows.items() if name in jobs}
        fires = [job.status.next_fire for job in jobs.values() if job.status.enabled and job.status.next_fire]
        fitting = [(name, job) for name, job in jobs.items() if view.fits(job)]
        shown = [row for row in fitting if view.health in ("", judged[row[0]].health)]
        troubles = self._state.troubles(clock)
        if why_none := held(troubles):  # the page says it once, above the table
            judged = {name: Judged(one.health) if one.why == why_none else one for name, one in judged.items()}
        words, number = headline(troubles, Counter(one.health for one in judged.values()))
        return self._page(
            "overview.html",
            now,
            clock,
            headline=words,
            number=number,
            view=view,
            sorts=SORTS,
            labels=sorted({f"{name}:{value}" for job in jobs.values() for name, value in job.status.labels}),
            rows=self._rendered(view.ordered(shown, judged), judged),
            counts=Counter(judged[name].health for name, _ in fitting),
            total=len(jobs),
            next_fire=min((fire for fire in fires if fire > now), default=None),
        )

    def _rendered(self, jobs: Iterable[tuple[str, KnownJob]], judged: Mapping[str, Judged]) -> list[Markup]:
        """Render the rows of the table. The row of a job to which nothing happened is reused."""
        rows = []
        for name, job in jobs:
            key = job.changes, judged[name]
            row = self._rows.get(name)
            if row is None or row[0] is not job or row[1] != key:
                html = self._row.render(job=job, status=job.status, judged=judged[name], bars=charts.bars(job.slots))
                row = (job, key, Markup(html))
                self._rows[name] = row
            rows.append(row[2])
        return rows

    def job(self, job: KnownJob, now: float, clock: float) -> bytes:
        self._state.want_memory(clock)
        return self._page(
            "job.html",
            now,
            clock,
            job=job,
            status=job.status,
            next_fire=self._next_fire(job, now),
            judged=self._state.judged(now, clock)[job.status.name],
            bars=charts.bars(job.slots, apart=True),
            plot=charts.durations(job.slots),
            fates=Counter(slot.fate for slot in job.slots),
        )

    def _next_fire(self, job: KnownJob, now: float) -> float | None:
        """Return the next fire. While a job runs, its status still has the instant of that run."""
        status = job.status
        return job.expected.next_due(status, now) if status.state == "running" else status.next_fire

    def runs(self, wanted: Slots, job: str | None, found: Rows | None, why: str, now: float, clock: float) -> bytes:
        """Render the history, of one job if `job` is given. `why` says why there is nothing to show."""
        path = f"/jobs/{job}/runs" if job else "/runs"
        more = found.more if found else None
        from_instant = rfc3339(wanted.before.due) if wanted.before and not wanted.before.job else None
        return self._page(
            "runs.html",
            now,
            clock,
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

    def run(self, rows: Sequence[Row], now: float, clock: float) -> bytes:
        """Render one run, with each of its deliveries, the latest first."""
        return self._page("run.html", now, clock, run=rows[0], rows=rows, meaning=runs.meaning(rows[0]))

    def nothing_here(self, path: str, now: float, clock: float) -> bytes:
        name = path.removeprefix("/jobs/")[:LONGEST_NAME]
        near = difflib.get_close_matches(name, self._state.jobs, NEAREST, NEAR) if path.startswith("/jobs/") else []
        return self._page("nothing.html", now, clock, path=path[:200], near=near)

    def _page(self, template: str, now: float, clock: float, **values: object) -> bytes:
        troubles = self._state.troubles(clock)
        html = self._templates.get_template(template).render(now=now, state=self._state, troubles=troubles, **values)
        return html.encode()


# ---- filters


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _at(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if seconds is not None else "never"


def _at_ms(seconds: float) -> str:
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03} UTC"


def _us(value: int | None) -> str:
    return duration(None if value is None else value / 1e6, none="–")


def _seconds(value: float | None) -> str:
    return duration(value, none="–")


def _in_zone(seconds: float, zone: str) -> str | None:
    """Write the instant in a zone other than UTC. None for UTC, and if this process cannot read the zone."""
    try:
        moment = datetime.fromtimestamp(seconds, load_zone(zone))
    except ValueError:
        return None
    return None if zone in ("UTC", "Etc/UTC") else f"{moment:%Y-%m-%d %H:%M:%S} {zone}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "…", "!", "?")) else ".")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"


def _fate(fate: Fate) -> str:
    return FATES[fate].words


def _told(slots: list[Slot]) -> str:
    """The tooltip of neighbouring slots with the same fate."""
    first, last = slots[0], slots[-1]
    count = sum(slot.count for slot in slots)
    if count == 1:
        why = f": {first.detail}" if first.detail else ""
        return f"{_fate(first.fate)}, {_at(first.due)}{why}"
    return f"{count} × {_fate(first.fate)}, {_at(first.due)} to {_at(last.last)}"


def _among(slots: Iterable[Slot]) -> str:
    """Describe a strip in words."""
    counts = Counter[Fate]()
    for slot in slots:
        counts[slot.fate] += slot.count
    return ", ".join(f"{count} {_fate(fate)}" for fate, count in counts.most_common()) or "nothing yet"
