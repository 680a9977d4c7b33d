"""How many failures in a row someone should hear of: the one rule, for the metrics and whoever else tells people."""

FAR = (
    3600.0  # seconds: a job whose next fire is further away has no second try soon that would tell a blip from a fault
)
SOON = 3  # failures of a job that fires soon again: one may be a deployment, three are not


def alert_after(own: int, last_run: float, next_due: float | None) -> int:
    """Failures in a row. `own` is the word of the job file, 0 where it has none; `next_due` is when the schedule fires
    next after `last_run`, None where nobody knows. Unix seconds."""
    if own:
        return own
    return 1 if next_due is not None and next_due - last_run > FAR else SOON
