"""Finds the one call of curl or wget in a list of shell commands."""

import re

from tocsin.importing import curl, shell, wget
from tocsin.importing.credentials import Variables
from tocsin.importing.found import Found
from tocsin.importing.request import TO_A_FILE, Call
from tocsin.importing.shell import MARK, Command, Unclear
from tocsin.redact import looks_random

_ASSIGNMENT = re.compile("([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_ALONE = re.compile(r"[\w./+-]{1,60}")
_SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh"}
_AS_USER = {"sudo", "doas", "runuser", "gosu", "su-exec"}
_WRAPPERS = {"env", "nohup", "exec", "chronic", "cronic", "command", "time", "nice", "ionice", "setsid", "stdbuf"}
_PROGRAMS = {"curl", "wget", "timeout", "flock", "su", "sleep", "cd", "set", ".", "source"}
_PROGRAMS |= _SHELLS | _AS_USER | _WRAPPERS
_LOGGERS = {"logger", "tee", "cat", "ts", "systemd-cat"}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DEEPEST = 4  # nested shells: nobody writes more


class Calls:
    def __init__(self, found: Found, variables: Variables) -> None:
        self.found = found
        self.variables = variables

    def read(self, commands: list[Command], stdin: str | None, place: str, depth: int = 0) -> tuple[int, Call]:
        """Return the delay in seconds before the call, and the call. Raises Unclear."""
        delay = 0
        while len(commands) > 1 and commands[0].then in (";", "&&") and commands[0].words:
            words = commands[0].words
            if words[0] == "sleep" and len(words) == 2 and re.fullmatch(r"[1-9]|[1-5][0-9]", words[1]):
                delay += int(words[1])
            elif words[0] in (".", "source") and len(words) == 2:
                self.found.note(
                    "check", place, "read its variables from a file; Tocsin reads the .env next to its job file"
                )
            elif words[0] not in ("cd", "set"):
                break
            commands = commands[1:]
        first, rest = commands[0], commands[1:]
        if rest and rest[0].words:
            self._afterwards(first.then, rest, place)
        words, limit, script = self._unwrapped(first.words, place)
        if script is not None:
            if depth == _DEEPEST:
                raise Unclear("shells nested too deeply")
            more, call = self.read(shell.parse(script), stdin, place, depth + 1)
            delay += more
        else:
            program = words[0].rpartition("/")[2] if words else ""
            if program not in ("curl", "wget"):
                raise Unclear("does not call curl or wget")
            call = (curl.curl if program == "curl" else wget.wget)(words[1:], stdin)
        if limit is not None:
            call.timeout = min(limit, call.timeout or limit)
        if any(output != "/dev/null" for one in commands for output in one.outputs):
            call.remarks.append(TO_A_FILE)
        return delay, call

    def _afterwards(self, operator: str, rest: list[Command], place: str) -> None:
        words = rest[0].words
        if operator == "||" and words in (["true"], [":"], ["/bin/true"], ["exit", "0"]) and len(rest) == 1:
            self.found.note("differs", place, "|| true hid failures; Tocsin counts them")
        elif operator == "|" and words[0].rpartition("/")[2] in _LOGGERS and len(rest) == 1:
            self.found.note(
                "left out", place, f"| {shown_program(words[0])}: Tocsin judges the reply and does not pass it on"
            )
        elif operator == "&":
            raise Unclear("an & outside quotes ends the command; if it is part of the address, quote the address")
        else:
            raise Unclear(f"{operator} {shown_program(words[0])}: a job is one call, with nothing after it")

    def _unwrapped(self, words: list[str], place: str) -> tuple[list[str], float | None, str | None]:
        """Return the words from the program on, the limit that `timeout` sets, and the script if a shell runs one."""
        limit = None
        words = list(words)
        while words:
            program = words[0].rpartition("/")[2]
            if (assignment := _ASSIGNMENT.fullmatch(words[0])) and not MARK.search(words[0]):
                self._assigned(assignment, words[1:], place)
                words.pop(0)
            elif program in _WRAPPERS:
                words = _after_options(words[1:])
            elif program in _AS_USER:
                words = _as_user(program, words[1:])
            elif program == "timeout":
                words = _after_options(words[1:])
                found = re.fullmatch(r"(\d{1,7}(?:\.\d{1,3})?)([smhd]?)", words.pop(0)) if words else None
                if not found:
                    raise Unclear("timeout without a time")
                limit = float(found[1]) * _UNITS[found[2]] or None
            elif program == "flock":
                words = _after_options(words[1:])[1:]
                self.found.note("differs", place, "flock is not needed: a job that is still running is never started")
                if words and words[0] in ("-c", "--command"):
                    return [], limit, _script(words)
            elif program in _SHELLS or program == "su":
                return [], limit, _script(words[1:])
            else:
                break
        return words, limit, None

    def _assigned(self, assignment: re.Match[str], following: list[str], place: str) -> None:
        """Take a variable that is set for this command. Only a shell in the command can use it."""
        name, value = assignment[1], assignment[2]
        self.variables.known[name] = value, place
        if any(used[1] == name for word in following for used in MARK.finditer(word)):
            why = "is set before a command, so the command line itself cannot use it; it was used as intended"
            self.found.note("check", place, f"{name} {why}")


def is_user(words: list[str]) -> bool:
    """Whether the first word is the user of a system crontab, followed by the command."""
    if len(words) < 2 or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*\$?", words[0]):
        return False
    following = words[1].rpartition("/")[2]
    return words[0] not in _PROGRAMS and (following in _PROGRAMS or bool(_ASSIGNMENT.fullmatch(words[1])))


def shown_program(command: str) -> str:
    """Return the name of a command for the report: its first word that is not an assignment, if it is simple."""
    for word in command.split()[:20]:
        if not _ASSIGNMENT.match(word):
            return word if _ALONE.fullmatch(word) and not looks_random(word.rpartition("/")[2]) else "…"
    return "…"


def _after_options(words: list[str]) -> list[str]:
    """Return the words after the options of a wrapper. An option of one letter may be followed by a number."""
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if words and re.fullmatch("-[ncpkswE]", option) and re.fullmatch(r"-?\d+(\.\d+)?[smh]?|[A-Z]{3,}", words[0]):
            words.pop(0)
    return words


def _as_user(program: str, words: list[str]) -> list[str]:
    """Return the words after the user that the command runs as."""
    named = program in ("gosu", "su-exec")
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--":
            break
        if words and option in ("-u", "-g", "--user", "--group"):
            words.pop(0)
    return words[1:] if named else words


def _script(words: list[str]) -> str:
    """Return what a shell runs: the word after -c, which may be combined with other letters. Raises Unclear."""
    words = list(words)
    while words:
        word = words.pop(0)
        if re.fullmatch(r"-[a-z]*c|--command", word):
            if not words:
                break
            script = words.pop(0)
            if words:
                raise Unclear("a shell whose script has arguments")
            if any(one[2] is not None for one in MARK.finditer(script)):
                raise Unclear("a variable with a default inside the script of a shell")
            return script
        if re.fullmatch("-[a-z]*o", word) and words:
            words.pop(0)  # the argument of an option: -o pipefail
    raise Unclear("a shell that runs a file")
