"""Reads the part of sh that crontabs use: words, quotes, variables, redirections, lists of commands.

Anything that needs a real shell (substitutions, subshells, loops) is refused. A variable in a word becomes a mark, so
that "$NAME" and '$NAME' differ.
"""

import re
from dataclasses import dataclass, field

MARK = re.compile("\x01([A-Za-z_][A-Za-z0-9_]*)(?::-([^\x02]*))?\x02")  # a variable in a word, and its default
_NAME = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}$\"'`\\]*))?\})")
_OPERATOR = re.compile(r"&&|\|\||;|\||&(?!>)")
_REDIRECTION = re.compile(r"&>>?|[0-9]?(?:>>|>\||>&|<&|>|<)")


class Unclear(Exception):
    """Says what is not understood, without repeating any value."""


@dataclass(slots=True)
class Command:
    """A command: its words, the files for its output, and the operator after it."""

    words: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    then: str = ""


def mark(name: str) -> str:
    return f"\x01{name}\x02"


def parse(text: str) -> list[Command]:
    """Return the simple commands of one line, which has no control characters. Raises Unclear."""
    commands = [Command()]
    place, end = 0, len(text)
    while place < end:
        char = text[place]
        if char in " \t":
            place += 1
        elif char == "#":
            break
        elif redirection := _REDIRECTION.match(text, place):
            place = _redirect(text, redirection, commands[-1])
        elif operator := _OPERATOR.match(text, place):
            if not commands[-1].words:
                raise Unclear(f"{operator[0]} without a command before it")
            commands[-1].then = operator[0]
            commands.append(Command())
            place = operator.end()
        else:
            word, place = _word(text, place)
            commands[-1].words.append(word)
    if not commands[-1].words and len(commands) > 1 and not commands[-1].outputs:
        commands.pop()
    return commands


def _redirect(text: str, found: re.Match[str], command: Command) -> int:
    place = found.end()
    if "<" in found[0]:
        raise Unclear("input comes from a file")
    while text[place : place + 1] in (" ", "\t"):
        place += 1
    if place == len(text):
        raise Unclear("a redirection without a file")
    target, place = _word(text, place)
    if not (found[0].endswith("&") and target in ("1", "2", "-")):
        command.outputs.append(target)
    return place


def _word(text: str, place: int) -> tuple[str, int]:
    parts: list[str] = []
    while place < len(text) and (char := text[place]) not in " \t;|&<>":
        if char == "'":
            close = text.find("'", place + 1)
            if close < 0:
                raise Unclear("a quote is not closed")
            parts.append(text[place + 1 : close])
            place = close + 1
        elif char == '"':
            piece, place = _quoted(text, place + 1)
            parts.append(piece)
        elif char == "\\":
            parts.append(text[place + 1 : place + 2])
            place += 2
        elif char == "$":
            piece, place = _variable(text, place)
            parts.append(piece)
        elif char in "`()":
            raise Unclear("`…` runs another command" if char == "`" else "a subshell")
        else:
            parts.append(char)
            place += 1
    return "".join(parts), place


def _quoted(text: str, place: int) -> tuple[str, int]:
    parts: list[str] = []
    while place < len(text):
        char = text[place]
        if char == '"':
            return "".join(parts), place + 1
        if char == "$":
            piece, place = _variable(text, place)
            parts.append(piece)
            continue
        if char == "`":
            raise Unclear("`…` runs another command")
        if char == "\\" and text[place + 1 : place + 2] in ("$", "`", '"', "\\"):
            place += 1
        parts.append(text[place])
        place += 1
    raise Unclear("a quote is not closed")


def _variable(text: str, place: int) -> tuple[str, int]:
    if found := _NAME.match(text, place):
        default = f":-{found[3]}" if found[3] is not None else ""
        return f"\x01{found[1] or found[2]}{default}\x02", found.end()
    following = text[place + 1 : place + 2]
    if following == "(":
        raise Unclear("$(…) runs another command")
    if following.isdigit() or (following and following in "{?$!@*#-'\""):
        raise Unclear("a $ that is not a plain variable")
    return "$", place + 1
