"""How many failures in a row call for an alert: the one rule, for the metrics and for everything else that alerts."""

FAR = 3600.0  # seconds: if the next fire is later, no second try soon can tell a brief failure from a fault
SOON = 3  # failures of a job that fires again soon: one may be a deployment, three are not


def alert_after(own: int, last_run: float, next_due: float | None) -> int:
    """Return the number of failures in a row. `own` is the value in the job file, or 0. `next_due` is the schedule's
    next instant after `last_run`, or None if unknown. Both are Unix seconds."""
    if own:
        return own
    return 1 if next_due is not None and next_due - last_run > FAR else SOON
