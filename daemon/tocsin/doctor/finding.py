"""One result of one check."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "FAIL", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is "group.what", `subject` is what was checked, `advice` is what to do about it, or ""."""

    check: str
    subject: str
    status: Status
    detail: str
    advice: str = ""


def ok(check: str, subject: str, detail: str) -> Finding:
    return Finding(check, subject, "ok", detail)


def warning(check: str, subject: str, detail: str, advice: str) -> Finding:
    return Finding(check, subject, "warning", detail, advice)


def fail(check: str, subject: str, detail: str, advice: str) -> Finding:
    return Finding(check, subject, "FAIL", detail, advice)


def skipped(check: str, subject: str, detail: str, advice: str = "") -> Finding:
    """A check that could not or must not be made. It is reported, so that nobody takes silence for health."""
    return Finding(check, subject, "skipped", detail, advice)


def in_number(jobs: int) -> str:
    return "1 job" if jobs == 1 else f"{jobs} jobs"
