"""The Markdown files of this repository: their fenced blocks, their links, their headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOT_OURS = {".git", ".hypothesis", ".next", "node_modules", "dist", "var"}

_FENCE = re.compile(r"^( *)(`{3,})(.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of text, from 1."""

    page: Path
    line: int
    language: str
    name: str  # of the file it is, if it is one
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def pages() -> list[Path]:
    """Every Markdown file of this repository, whoever wrote it."""
    found = ROOT.rglob("*.md")
    return sorted(
        file
        for file in found
        if not any(part in NOT_OURS or part.startswith(".venv") for part in file.relative_to(ROOT).parts)
    )


def split(page: Path) -> tuple[str, list[Block]]:
    """The prose without the fenced blocks (their lines are empty), and the blocks."""
    prose, blocks = [], []
    inside: list[str] | None = None
    opened, fence, indent, info = 0, "", "", ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        found = _FENCE.match(line)
        if inside is None and found:
            indent, fence, info = found[1], found[2], found[3].strip()
            inside, opened = [], number + 1
            prose.append("")
        elif inside is not None and found and found[2].startswith(fence) and not found[3].strip():
            language, _, name = info.partition(" ")
            blocks.append(Block(page, opened, language, name.strip(), "\n".join(inside)))
            inside = None
            prose.append("")
        elif inside is not None:
            inside.append(line.removeprefix(indent))
            prose.append("")
        else:
            prose.append(line)
    assert inside is None, f"{page}: the block of line {opened} does not end"
    return "\n".join(prose), blocks


def inline_code(prose: str) -> Iterator[str]:
    for found in re.finditer(r"(`+)(.+?)\1", prose):
        yield found[2].strip()


def without_code(prose: str) -> str:
    return re.sub(r"(`+)(.+?)\1", "", prose, flags=re.DOTALL)


def links(prose: str) -> Iterator[str]:
    """The targets of [links](…), ![pictures](…), <https://…> and [definitions]: …"""
    text = without_code(prose)
    for found in re.finditer(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)", text):
        yield found[1]
    for found in re.finditer(r"(?m)^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*$", text):
        yield found[1]
    for found in re.finditer(r"<([a-z]+:[^>\s]+)>", text):
        yield found[1]
    for found in re.finditer(r"(?:src|href|srcset)=\"([^\"]+)\"", text):
        yield found[1]


def anchors(page: Path) -> set[str]:
    """The #names that GitHub gives the headings: small letters, without punctuation, spaces as hyphens; numbered
    when one comes again.
    """
    prose, _ = split(page)
    found: dict[str, int] = {}
    names = set()
    for line in prose.splitlines():
        if heading := re.match(r"#{1,6}\s+(.*?)\s*#*$", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "")
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            names.add(f"{slug}-{found[slug]}" if slug in found else slug)
            found[slug] = found.get(slug, 0) + 1
    return names | set(re.findall(r"<a (?:name|id)=\"([^\"]+)\"", prose))
