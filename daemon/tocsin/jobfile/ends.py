"""When a pause ends: what a person wrote, as an instant."""

from datetime import UTC, datetime

from tocsin.jobfile.values import parse_duration

LONGEST = 366 * 86400.0  # seconds: a longer pause is meant for `enabled = false` in the job file


def after(text: str, now: float) -> float:
    """Unix time, in whole seconds, so long after `now`: "2h". Raises ValueError, which says what is wrong."""
    seconds = parse_duration(text)
    if not 1 <= seconds <= LONGEST:
        raise ValueError("must be at least 1s and at most 366d")
    return float(int(now + seconds))


def at(text: str, now: float) -> float:
    """Unix time of an instant, "2026-11-28T14:00:00Z"; without a zone it is UTC. Raises ValueError likewise."""
    try:
        moment = datetime.fromisoformat(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("is not an instant: write it like 2026-11-28T14:00:00Z") from None
    if not now < seconds <= now + LONGEST:
        raise ValueError("must be in the future, and within 366 days")
    return float(int(seconds))
