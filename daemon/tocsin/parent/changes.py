"""Says in words what a reload changed, for the operator and for the log."""

import dataclasses
from collections.abc import Callable, Iterable

from tocsin import log
from tocsin.config import Config
from tocsin.jobfile.faults import ConfigError
from tocsin.parent.listener import CannotListen, Listener

NAMED = 20  # jobs named in one line
RESTART_KEYS = (
    "state_dir",
    "ledger",
    "node",
    "retention",
    "replies_retention",
)  # keys of [daemon] that need a restart
_LIVE_KEYS = ("listen", "log_level", "log_format", "drain")  # keys of [daemon] that a reload can change
_KINDS = ("added", "changed", "removed", "enabled", "disabled")


def jobs_changed(old: Config, new: Config) -> dict[str, list[str]]:
    """Group the names of the jobs by what happened to them. Each job is in one group only."""
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for name in sorted(old.jobs.keys() | new.jobs.keys()):
        before, after = old.jobs.get(name), new.jobs.get(name)
        if before is None:
            found["added"].append(name)
        elif after is None:
            found["removed"].append(name)
        elif before.enabled != after.enabled:
            found["enabled" if after.enabled else "disabled"].append(name)
        elif before is not after and before != after:
            found["changed"].append(name)
    return {kind: names for kind, names in found.items() if names}


def in_words(old: Config, new: Config) -> str:
    """Describe the reload in several lines. `new` is the whole file, with the keys that need a restart."""
    lines = [f"reloaded: {len(new.enabled_jobs)} of {len(new.jobs)} jobs enabled"]
    lines += [f"{kind}: {named(names)}" for kind, names in jobs_changed(old, new).items()]
    live = [key for key in _LIVE_KEYS if getattr(old, key) != getattr(new, key)]
    if old.access != new.access:
        live.append("access to the pages (listen_…)")
    if live:
        lines.append(f"changed in [daemon]: {', '.join(live)}")
    if old.notify != new.notify:
        lines.append("changed: [notify]")
    if waiting := restart_needed(old, new):
        lines.append(f"changed in [daemon], effective only after a restart: {', '.join(waiting)}")
    if len(lines) == 1:
        lines.append("nothing changed")
    return "\n".join(lines)


class NotTaken(Exception):
    """The job file cannot be applied. `faults` has one entry for each reason."""

    def __init__(self, faults: Iterable[object]) -> None:
        super().__init__()
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))

    @property
    def answer(self) -> str:
        """What the operator who asked for the reload is told."""
        many = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        return f"{many}; nothing changed, and the previous job file stays in use:\n{self}"


def read(load: Callable[[], Config], old: Config, listener: Listener) -> Config:
    """Call `load`, move the listener if its address changed, and return the part that takes effect now.

    Raises NotTaken.
    """
    try:
        new = load()
        if new.listen != old.listen:
            listener.move(new.listen)
    except ConfigError as error:
        raise NotTaken(error.faults) from error
    except CannotListen as error:
        raise NotTaken([error]) from error
    except Exception as error:  # no failure of a reload may stop the running jobs
        raise NotTaken([f"the job file cannot be read: {type(error).__name__}: {error}"]) from error
    for key in restart_needed(old, new):
        log.warning(f"a change of {key} takes effect at the next start")
    return kept(old, new)


def restart_needed(old: Config, new: Config) -> list[str]:
    return [key for key in RESTART_KEYS if getattr(old, key) != getattr(new, key)]


def kept(old: Config, new: Config) -> Config:
    """Return the new config, with the old values of the keys that need a restart."""
    return dataclasses.replace(new, **{key: getattr(old, key) for key in RESTART_KEYS})


def named(names: Iterable[str]) -> str:
    """List the first names, and say how many more there are."""
    all_names = list(names)
    more = len(all_names) - NAMED
    return ", ".join(all_names[:NAMED]) + (f" and {more} more" if more > 0 else "")
