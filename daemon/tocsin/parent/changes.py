"""What a reload changed, in words: for who asked for it, and for the log."""

import dataclasses
from collections.abc import Callable, Iterable

from tocsin import log
from tocsin.config import Config
from tocsin.jobfile.faults import ConfigError
from tocsin.parent.listener import CannotListen, Listener

NAMED = 20  # jobs that one line names
RESTART_KEYS = (
    "state_dir",
    "ledger",
    "node",
    "retention",
    "replies_retention",
)  # of [daemon]: what a reload cannot change
_LIVE_KEYS = ("listen", "log_level", "log_format", "drain")  # of [daemon]: what it can, beside `access`
_KINDS = ("added", "changed", "removed", "enabled", "disabled")


def jobs_changed(old: Config, new: Config) -> dict[str, list[str]]:
    """The names of the jobs, by what happened to them. One that was enabled or disabled and changed is named once."""
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
    """Several lines. `new` is what the file says, also where that takes effect only at the next start."""
    lines = [f"reloaded: {len(new.enabled_jobs)} of {len(new.jobs)} jobs enabled"]
    lines += [f"{kind}: {named(names)}" for kind, names in jobs_changed(old, new).items()]
    live = [key for key in _LIVE_KEYS if getattr(old, key) != getattr(new, key)]
    if old.access != new.access:
        live.append("access to the pages (listen_…)")
    if live:
        lines.append(f"changed in [daemon]: {', '.join(live)}")
    if waiting := restart_needed(old, new):
        lines.append(f"changed in [daemon], effective only after a restart: {', '.join(waiting)}")
    if len(lines) == 1:
        lines.append("nothing changed")
    return "\n".join(lines)


class NotTaken(Exception):
    """The job file cannot be applied. `faults` say why, one each."""

    def __init__(self, faults: Iterable[object]) -> None:
        super().__init__()
        self.faults = tuple(faults)


def read(load: Callable[[], Config], old: Config, listener: Listener) -> Config:
    """What `load` returns, as far as it takes effect now; the listener has moved where that asks for it. Raises
    NotTaken.
    """
    try:
        new = load()
        if new.listen != old.listen:
            listener.move(new.listen)
    except ConfigError as error:
        raise NotTaken(error.faults) from error
    except CannotListen as error:
        raise NotTaken([error]) from error
    except Exception as error:  # whatever it is, what runs must go on
        raise NotTaken([f"the job file cannot be read: {type(error).__name__}: {error}"]) from error
    for key in restart_needed(old, new):
        log.warning(f"a change of {key} takes effect at the next start")
    return kept(old, new)


def restart_needed(old: Config, new: Config) -> list[str]:
    return [key for key in RESTART_KEYS if getattr(old, key) != getattr(new, key)]


def kept(old: Config, new: Config) -> Config:
    """The new config, with the old values of what only a restart can change."""
    return dataclasses.replace(new, **{key: getattr(old, key) for key in RESTART_KEYS})


def named(names: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    all_names = list(names)
    more = len(all_names) - NAMED
    return ", ".join(all_names[:NAMED]) + (f" and {more} more" if more > 0 else "")
