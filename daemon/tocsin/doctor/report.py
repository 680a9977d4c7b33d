"""Shows the findings for people, one line for each, and for programs."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace

import click

from tocsin.display import printable
from tocsin.doctor.finding import Finding, Status
from tocsin.redact import redact

SHOWN = 5  # lines of one check with the same text, or without a fault; more are joined
NAMED = 3  # subjects named in such a line
_COLOURS: dict[Status, str] = {"ok": "green", "warning": "yellow", "FAIL": "red", "skipped": "cyan"}


def as_json(findings: Sequence[Finding]) -> str:
    return json.dumps([{key: redact(text) for key, text in asdict(one).items()} for one in findings], indent=2)


def as_text(findings: Sequence[Finding]) -> str:
    """Show the findings in groups, the most important first. The caller drops colours if it is not a terminal."""
    groups: dict[str, list[Finding]] = {}
    for one in _merged(findings):
        groups.setdefault(one.check.partition(".")[0], []).append(one)
    lines = []
    for group, members in groups.items():
        lines.append(click.style(group, bold=True))
        whats = [one.check.partition(".")[2] for one in members]
        width = max(map(len, whats))
        lines += [_line(one, what.ljust(width)) for one, what in zip(members, whats, strict=True)]
        lines.append("")
    count = Counter(one.status for one in findings)
    warnings = f"{count['warning']} warning{'' if count['warning'] == 1 else 's'}"
    summary = f"{count['ok']} ok, {warnings}, {count['FAIL']} failed, {count['skipped']} skipped"
    colour = _COLOURS["FAIL" if count["FAIL"] else "warning" if count["warning"] else "ok"]
    return "\n".join([*lines, click.style(summary, fg=colour)])


def _line(one: Finding, what: str) -> str:
    status = click.style(one.status.ljust(7), fg=_COLOURS[one.status], bold=one.status == "FAIL")
    text = f"{one.subject}: {one.detail}" + (f" → {one.advice}" if one.advice else "")
    return f"  {status}  {what}  {printable(redact(text))}"


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """Join findings that are the same for many subjects in one line, which names the first ones."""
    same: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        same.setdefault(_kind(one), []).append(one)
    merged = []
    for one in findings:
        alike = same[_kind(one)]
        if len(alike) <= SHOWN:
            merged.append(one)
        elif one is alike[0]:
            subject = f"{', '.join(other.subject for other in alike[:NAMED])} and {len(alike) - NAMED} more"
            merged.append(replace(one, subject=subject, detail="all well" if one.status == "ok" else one.detail))
    return merged


def _kind(one: Finding) -> tuple[str, ...]:
    return (one.check, one.status) if one.status == "ok" else (one.check, one.status, one.detail, one.advice)
