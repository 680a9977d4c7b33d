"""The Markdown files: links lead somewhere, blocks are what they say, commands in the text exist."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest
import yaml

from docs_pages import ROOT, Block, anchors, inline_code, links, pages, split
from tocsin.cli import main

PAGES = pages()
GROUP = click.Context(main, info_name="tocsin", **main.context_settings)
LANGUAGES = {"sh", "text", "toml", "json", "yaml", "ini", "ts", "js", "tsx", "jsx", "python", "sql", "promql", "diff"}
LANGUAGES |= {"dockerfile", "nginx", "crontab", "html", "mermaid", "css", "xml"}
by_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def test_the_pages_are_found() -> None:
    assert {ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "quick-start.md"} < set(PAGES)


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    prose, _ = split(page)
    for link in links(prose):
        parts = urlsplit(link)
        if parts.scheme in ("http", "https"):
            assert re.fullmatch(r"[a-z0-9.-]+(:\d+)?", parts.netloc), link
            local = parts.hostname in ("localhost", "127.0.0.1")
            assert parts.scheme == "https" or local, f"{link}: over https"
            continue
        assert not parts.scheme or parts.scheme == "mailto", link
        assert not parts.path.startswith("/"), f"{link}: relative to this page"
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert target.exists(), f"{link}: there is no {target}"
        assert target.is_relative_to(ROOT), link
        if parts.fragment and target.suffix == ".md":
            assert unquote(parts.fragment) in anchors(target), f"{link}: no such heading; there are {anchors(target)}"


def test_every_page_of_docs_is_in_the_index() -> None:
    prose, _ = split(ROOT / "docs" / "README.md")
    named = {urlsplit(link).path for link in links(prose)}
    assert {file.name for file in (ROOT / "docs").glob("*.md")} - {"README.md"} <= named


@by_page
def test_blocks_are_what_they_say(page: Path) -> None:
    for block in split(page)[1]:
        assert block.language in LANGUAGES, f"{block}: the block says {block.language!r}; see CONTRIBUTING.md"
        match block.language:
            case "toml":
                tomllib.loads(block.text)
            case "json":
                json.loads(block.text)
            case "yaml":
                list(yaml.safe_load_all(block.text))


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Of the running text: every `tocsin …` that names a command."""
    found = []
    for code in inline_code(split(page)[0].replace("\\|", "|")):
        if re.match(r"tocsin [a-z]", code):
            for part in re.split(r" && | \| |; ", code):
                words = shlex.split(re.split(r"\)\"| [<>]", part.replace("[", "").replace("]", ""))[0])
                if words and words[0] == "tocsin" and "…" not in words and "COMMAND" not in words:
                    found.append((code, words[1:]))
    return found


@by_page
def test_commands_in_the_text_exist(page: Path) -> None:
    for code, words in commands(page):
        if words[0].startswith("-"):
            continue
        assert words[0] in main.commands, f"`{code}`: there is no such command"
        command = main.commands[words[0]]
        given = ["some-job" if word == "JOB" else word for word in words[1:]]
        try:
            command.make_context(words[0], given, parent=GROUP).close()
        except click.MissingParameter:
            pass  # the text speaks of the command as such
        except click.exceptions.Exit:
            assert "--help" in words
        except click.UsageError as error:
            pytest.fail(f"`{code}`: {error.format_message()}")


def test_tests_that_are_named_exist() -> None:
    files = list((ROOT / "tests").rglob("test_*.py"))
    there = {file.stem for file in files} | {file.name for file in files}
    there |= {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())}
    for page in PAGES:
        named = set(re.findall(r"\btest_\w+(?:\.py)?", split(page)[0]))
        assert named <= there, f"{page.name} names {named - there}"


# ---- the reader of Markdown itself


def test_what_is_read_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` page, *now*\n[x](other.md#a-b) `[no](no.md)` ![p](p.png) <https://a.example/>\n"
        "## Again\n## Again\n\n```toml my.toml\na = 1\n```\n[r]: ref.md\n  ````text\n  ```\n  ````\n"
    )
    prose, blocks = split(page)
    assert list(links(prose)) == ["other.md#a-b", "p.png", "ref.md", "https://a.example/"]
    assert anchors(page) == {"a-b-page-now", "again", "again-1"}
    assert blocks == [Block(page, 7, "toml", "my.toml", "a = 1"), Block(page, 11, "text", "", "```")]
