"""The status pages, rendered here and read-only. Every string is escaped: a server's words are hostile."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tocsin import __version__
from tocsin.exporter import charts
from tocsin.exporter.state import SILENCE, SLOTS_KEPT, KnownJob, Slot, State
from tocsin.ipc.exporter import JobStatus
from tocsin.ipc.fates import FATES, Fate
from tocsin.units import duration

Mood = Literal["failing", "down", "running", "cancelled", "well", "new", "paused", "disabled"]
MOODS: dict[Mood, tuple[str, str]] = {  # the sign before the word, and what the word means
    "failing": ("✕", "it failed, and has not succeeded since"),
    "down": ("!", "its process is starting or has died"),
    "running": ("▸", "a run is going on"),
    "cancelled": ("×", "the daemon stopped during the last run"),
    "well": ("●", "the last run was a success"),
    "new": ("○", "it has not run yet"),
    "paused": ("‖", "scheduled slots are let pass"),
    "disabled": ("–", "switched off in the job file"),
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    content_type: str
    content: bytes
    url: str


def _static() -> dict[str, StaticFile]:
    """The files of static/ by name. The URL holds a digest of the content, so browsers may keep them."""
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
        self._rows: dict[str, tuple[KnownJob, int, Markup]] = {}
        self._templates = Environment(
            loader=PackageLoader(__package__),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            at=_at, seconds=_seconds, number=_number, fate=_fate, instant=_instant, told=_told, among=_among
        )
        self._templates.globals.update(
            version=__version__,
            static={name: file.url for name, file in self.static.items()},
            charts=charts,
            slots_kept=SLOTS_KEPT,
            moods=MOODS,
            looks=FATES,
        )
        self._row = self._templates.get_template("row.html")

    def overview(self, now: float, clock: float) -> bytes:
        """The page `/`. `now` is Unix time, `clock` the monotonic one."""
        jobs = sorted(self._state.jobs.items())
        moods = Counter(mood(job.status) for _, job in jobs)
        fires = [job.status.next_fire for _, job in jobs if job.status.enabled and job.status.next_fire]
        return self._page(
            "overview.html",
            now,
            clock,
            rows=self._rendered(jobs),
            counts=moods,
            total=len(jobs),
            next_fire=min((fire for fire in fires if fire > now), default=None),
        )

    def _rendered(self, jobs: Iterable[tuple[str, KnownJob]]) -> list[Markup]:
        """The rows of the table; that of a job to which nothing happened is the one from before."""
        rows = {}
        for name, job in jobs:
            row = self._rows.get(name)
            if row is None or row[0] is not job or row[1] != job.changes:
                html = self._row.render(job=job, status=job.status, mood=mood(job.status), bars=charts.bars(job.slots))
                row = (job, job.changes, Markup(html))
            rows[name] = row
        self._rows = rows
        return [html for _, _, html in rows.values()]

    def job(self, job: KnownJob, now: float, clock: float) -> bytes:
        return self._page(
            "job.html",
            now,
            clock,
            job=job,
            status=job.status,
            mood=mood(job.status),
            bars=charts.bars(job.slots, apart=True),
            plot=charts.durations(job.slots),
            fates=Counter(slot.fate for slot in job.slots),
        )

    def nothing_here(self, path: str, now: float, clock: float) -> bytes:
        return self._page("nothing.html", now, clock, path=path[:200])

    def _page(self, template: str, now: float, clock: float, **values: object) -> bytes:
        state = self._state
        silence = state.silence(clock)
        html = self._templates.get_template(template).render(
            now=now,
            state=state,
            silence=silence,
            is_silent=silence > SILENCE,
            ledger_down=state.ledger is not None and not state.ledger.up,
            refused=state.config is not None and state.config.error is not None,
            **values,
        )
        return html.encode()


def mood(status: JobStatus) -> Mood:
    """The one word for how a job is: what an operator should know first."""
    if not status.enabled:
        return "disabled"
    if status.pid is None:
        return "down"
    if status.paused:
        return "paused"
    if status.state == "running":
        return "running"
    if status.last_outcome is None:
        return "new"
    if status.consecutive_failures:
        return "failing"
    return "cancelled" if status.last_outcome == "cancelled" else "well"


# ---- filters


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _at(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if seconds is not None else "never"


def _seconds(value: float | None) -> str:
    return duration(value, none="–")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"


def _fate(fate: Fate) -> str:
    return FATES[fate].words


def _told(slots: list[Slot]) -> str:
    """What a tooltip says of neighbouring slots with one fate."""
    first, last = slots[0], slots[-1]
    count = sum(slot.count for slot in slots)
    if count == 1:
        why = f": {first.detail}" if first.detail else ""
        return f"{_fate(first.fate)}, {_at(first.due)}{why}"
    return f"{count} × {_fate(first.fate)}, {_at(first.due)} to {_at(last.last)}"


def _among(slots: Iterable[Slot]) -> str:
    """What a strip shows, in words."""
    counts = Counter[Fate]()
    for slot in slots:
        counts[slot.fate] += slot.count
    return ", ".join(f"{count} {_fate(fate)}" for fate, count in counts.most_common()) or "nothing yet"
