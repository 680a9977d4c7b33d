"""Reads a crontab whose lines call curl or wget, of a user or of the system (with a column for the user).

Sources: crontab(5) of Debian's cron and of cronie. Every other line is listed in the report.
"""

import re
from collections.abc import Set
from urllib.parse import urlsplit

from tocsin.importing import shell
from tocsin.importing.calls import Calls, is_user, shown_program
from tocsin.importing.credentials import Variables, table
from tocsin.importing.found import Found, FoundJob, fault, name_of, number, table_faults
from tocsin.importing.request import Call
from tocsin.importing.shell import MARK, Unclear
from tocsin.jobfile.faults import ConfigError
from tocsin.jobfile.urls import is_public
from tocsin.redact import looks_random
from tocsin.schedule import Schedule, ScheduleError
from tocsin.schedule.zones import load_zone

_ENTRY = re.compile(r"(@every\s+\S+|@\w+|(?:[^\s#]\S*\s+){4}\S+)\s+(\S.*)")
_SETTING = re.compile(r"""(["']?)([A-Za-z_][A-Za-z0-9_]*)\1\s*=\s*(.*)""")
_ZONED = re.compile(r"(?:CRON_)?TZ=(\S+)\s+")  # before a schedule, as in robfig/cron
_YEARS = re.compile(r"(?:19|20)[0-9]{2}(?:[-,/][0-9]+)*")
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
MOST_LINES = 10_000  # a crontab with a hundred jobs has three hundred
_TERM = r"(?:\*|\?|[0-9]{1,3}[LW]?|[A-Za-z]{1,3})"
_FIELD = re.compile(rf"{_TERM}(?:[-,/~#]{_TERM})*")
_WITHOUT_EFFECT = {"PATH", "SHELL", "HOME", "LOGNAME", "USER", "LANG", "LC_ALL"}

_DIFFERS = (
    "lateness: cron checks once a minute and forgets runs that were due while it was down; Tocsin calls at the "
    "exact second, and still runs a slot that is up to grace (60s) late",
    "retries: curl tries once unless told to; Tocsin tries again, up to 3 times, when a call was certainly not "
    "processed (refused, not reached, 429, 503); retries = 0 stops that",
    "overlap: cron starts a run while the last one is still running; Tocsin skips that slot",
    "deadline: without -m curl waits forever; Tocsin waits for timeout (300s)",
    "failures: a status other than 2xx, a redirect, HTML or a reply that says success = false is a failure, where "
    'cron saw only the exit code of curl (the key "expect")',
)
_ZONE = (
    "time zone: cron used the machine's time zone (`timedatectl` shows it); these jobs use the timezone of [defaults], "
    'else UTC; to keep their times set it there, for example timezone = "Europe/Berlin"'
)


def read(text: str, source: str) -> Found:
    """Return the calls of the crontab. Raises ConfigError for a file that is not text, or a bad time zone."""
    found = Found(source)
    reader = _Reader(found, set(_NAME.findall(text)))
    lines = text.removeprefix("\ufeff").split("\n")
    if len(lines) > MOST_LINES:
        raise ConfigError([fault(source, "", "", f"has more than {MOST_LINES} lines; is it a crontab?")])
    for count, line in enumerate(lines, 1):
        line = line.rstrip("\r").strip(" \t")
        if any(char < " " and char != "\t" for char in line) or "\x7f" in line:
            raise ConfigError([fault(source, f"line {count}", "", "has control characters, so it is not a crontab")])
        if line:
            reader.line(line, f"line {count}")
    number(found.jobs)
    if found.jobs:
        for difference in _DIFFERS:
            found.note("differs", "", difference)
        if any("timezone" not in job.table for job in found.jobs):
            found.note("differs", "", _ZONE)
    elif not any(note.kind == "left out" for note in found.notes):
        found.note("check", "", "has no line that calls something")
    return found


def looks_like(text: str) -> bool:
    """Whether a text may be a crontab: one of its lines has the form of an entry."""
    lines = (line.strip() for line in text.split("\n"))
    return any((entry := _ENTRY.match(line)) and _is_schedule(entry[1]) for line in lines)


def _is_schedule(text: str) -> bool:
    fields = text.split()
    return text.startswith("@") or (
        all(map(_FIELD.fullmatch, fields)) and fields[0][0] in "0123456789*" and fields[1][0] in "0123456789*"
    )


class _Reader:
    def __init__(self, found: Found, named: Set[str]) -> None:
        """`named` are words of the crontab that may be variables."""
        self.found = found
        self.variables = Variables(found, named)
        self.zone = ""

    def line(self, line: str, place: str) -> None:
        if line.startswith("#"):
            entry = _ENTRY.match(line.lstrip("# \t"))
            if entry and _is_schedule(entry[1]) and re.search(r"\b(curl|wget)\b", entry[2]):
                self._left_out(place, entry[1], "curl or wget", "is commented out")
        elif (zone := _ZONED.match(line)) and (entry := _ENTRY.fullmatch(line, zone.end())) and _is_schedule(entry[1]):
            self._zoned(zone[1], entry, place)
        elif setting := _SETTING.fullmatch(line):
            self._setting(setting[2], setting[3].strip(), place)
        elif (entry := _ENTRY.fullmatch(line)) and _is_schedule(entry[1]):
            self._entry(entry[1], entry[2], place)
        else:
            self.found.note("left out", place, "is not a valid line of a crontab")

    def _zoned(self, zone: str, entry: re.Match[str], place: str) -> None:
        try:
            load_zone(zone)
        except ScheduleError as error:
            self._left_out(place, entry[1], "…", str(error))
        else:
            self._entry(entry[1], entry[2], place, zone)

    def _left_out(self, place: str, schedule: str, program: str, why: str) -> None:
        self.found.note("left out", place, f"{schedule} {program} …: {why}")

    def _setting(self, name: str, value: str, place: str) -> None:
        if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]:
            value = value[1:-1]
        self.variables.known[name] = value, place
        if name in ("CRON_TZ", "TZ"):
            try:
                Schedule("* * * * *", value.removeprefix(":"))
            except ScheduleError as error:
                raise ConfigError([fault(self.found.source, place, name, str(error))]) from None
            if name == "CRON_TZ" or "CRON_TZ" not in self.variables.known:
                self.zone = value.removeprefix(":")
            if name == "TZ":
                why = "Debian's cron ignores TZ and uses the machine's zone; these jobs use TZ"
                self.found.note("check", place, why)
        elif name in ("MAILTO", "MAILFROM"):
            self.found.note("differs", place, f"{name}: Tocsin sends no mail; for alerts see docs/alerts.md")
        elif name == "RANDOM_DELAY":
            self.found.note("differs", place, "RANDOM_DELAY: Tocsin calls at the exact second, without a random delay")
        elif name in _WITHOUT_EFFECT:
            self.found.note("left out", place, f"{name}: has no effect, because Tocsin does not use a shell")

    def _entry(self, schedule: str, text: str, place: str, zone: str = "") -> None:
        command, stdin = _split_at_percent(text)
        variables = self.variables
        before = len(self.found.notes), variables.known.copy(), variables.made.copy(), variables.used.copy()
        try:
            schedule, command = self._fields(schedule, command, place)
            job, call = self._job(schedule, command, stdin, place, zone or self.zone)
        except Unclear as unclear:
            while len(self.found.notes) > before[0]:
                self.found.notes.popitem()
            _, variables.known, variables.made, variables.used = before
            why = str(unclear)
            if stdin is not None:
                why = rf"cron ends the command at the first %, where \% may be meant; of what is left: {why}"
            self._left_out(place, schedule, shown_program(command), why)
            return
        self.variables.known = before[1]  # a variable before a command is only for that command
        for remark in call.remarks:
            self.found.note("differs", place, remark)
        if (url := urlsplit(job.table["url"])).scheme == "http" and is_public(url.hostname or ""):
            self.found.note("check", place, "uses http://, which Tocsin refuses for a public host")
        self.found.jobs.append(job)

    def _fields(self, schedule: str, command: str, place: str) -> tuple[str, str]:
        """Split schedule and command if there are more than five fields before the command."""
        fields = schedule.split()
        while 5 <= len(fields) < 7:
            first, _, rest = command.partition(" ")
            is_field = _FIELD.fullmatch(first) and first[0] in "0123456789*?"
            if not rest or not (is_field or _YEARS.fullmatch(first)):
                break
            fields, command = [*fields, first], rest.lstrip()
        if len(fields) > 5:
            what = "six" if len(fields) == 6 else "seven"
            if len(fields) == 7 and fields.pop() not in ("*", "?"):
                raise Unclear("has seven fields, with a year at the end: Tocsin's schedules have no year")
            why = f"has {what} fields: read with seconds first{' and a year last' * (what == 'seven')}"
            if what == "six":
                why += "; if the sixth is a year (supercronic), remove the first"
            self.found.note("check", place, why)
        return " ".join(fields), command

    def _job(self, schedule: str, command: str, stdin: str | None, place: str, zone: str) -> tuple[FoundJob, Call]:
        """Raises Unclear."""
        commands = shell.parse(command)
        if is_user(commands[0].words):
            commands[0].words.pop(0)
        delay, call = Calls(self.found, self.variables).read(commands, stdin, place)
        if stdin is not None and call.body is None:
            self.found.note("check", place, r"cron ends a command at the first % that is no \%: so does this job")
        schedule = _delayed(_checked(schedule), delay)
        name = self._name(call.url)
        keys = {"schedule": schedule, **({"timezone": zone} if zone else {})}
        job = FoundJob(name, place, {**keys, **table(call, name, place, self.variables)})
        if faults := table_faults(self.found.source, job):
            raise Unclear(f"{faults[0].key}: {faults[0].why}")
        return job, call

    def _name(self, url: str) -> str:
        """Name the job after its path, or after its host if the path says nothing."""
        known = {name: value for name, (value, _) in self.variables.known.items()}
        url = MARK.sub(lambda one: "" if looks_random(known.get(one[1], "")) else known.get(one[1], ""), url)
        host, _, path = url.partition("://")[2 if "://" in url else 0].partition("/")
        name = name_of(path)
        return name if name != "job" else name_of(host.rpartition("@")[2])


def _split_at_percent(text: str) -> tuple[str, str | None]:
    r"""Split the command from its input, after the first %. There each % is a line break. \% is a percent sign."""
    parts = re.split(r"(?<!\\)%", text)
    command, *rest = (part.replace(r"\%", "%") for part in parts)
    return command, "\n".join(rest) if rest else None


def _checked(schedule: str) -> str:
    if schedule.lower() == "@reboot":
        raise Unclear("Tocsin has no @reboot: it runs jobs only by the clock")
    try:
        return Schedule(schedule).expression
    except ScheduleError as error:
        raise Unclear(str(error)) from None


def _delayed(schedule: str, delay: int) -> str:
    """Turn a delay before the call into a schedule of six fields: with cron, people sleep to get below a minute."""
    if not delay:
        return schedule
    if delay > 59 or len(schedule.split()) != 5:
        raise Unclear("sleeps before the call")
    return f"{delay} {schedule}"
