"""Every command of the docs, run: page by page, in a copy of this repository, beside a real daemon and the demo app.

CONTRIBUTING.md says how the blocks of a page are marked. The daemon is the shipped one, under supervisord; each page
has a copy of the files to itself and shares the state folder with the daemon.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs_pages import NOT_OURS, ROOT, Block, pages, split
from harness import PATIENCE, SECRET, free_port, until

BIN = Path(sys.executable).parent
PAGES = [page for page in pages() if page.parent in (ROOT, ROOT / "docs") and page.name != "CHANGELOG.md"]

# Commands that are not run here, by their first words, and why. The files they name must exist.
CANNOT = {
    "make run": "test_supervised.py runs it",
    "make test": "this is it",
    "make unit": "a part of it",
    ".venv/bin/pytest": "as above",
    "make": "lists the targets",
    "make dist": "test_release.py runs it",
    "make bench": "takes minutes, and the whole machine; test_bench_*.py run its parts",
    "make report": "as above",
    "python3 -m venv": "downloads pip's packages; test_release.py and test_container.py install",
    "venv/bin/pip": "as above",
    ".venv/bin/pip": "as above",
    "tocsin run": "it is running already, and would not end",
    "tocsin demo": "as above",
    "supervisord": "as above",
    "tocsin notify": "needs servers to write to; test_notify_command.py runs it",
    "tocsin ledger copy": "needs a PostgreSQL server; test_ledger_copy.py runs it",
    "tocsin nodes": "as above; test_nodes_command.py runs it",
    "supervisorctl -c supervisord.conf shutdown": "ends what the other pages need; the end of this test says it",
    "docker": "needs a container engine; test_container.py runs the image's steps",
    "sudo": "needs root",
    "systemctl": "needs systemd",
    "apt-get": "needs root",
    "apt": "needs root",
    "git": "needs the network, or changes the repository",
    "useradd": "needs root, and changes the machine",
    "install -d -o": "as above",
    "install -o": "as above",
    "ln -s /var/lib/tocsin": "as above",
    "cd /opt/tocsin": "as above",
    "cp deploy/systemd/tocsin.service": "as above; test_hosts.py runs the unit's command",
    "cp deploy/supervisor/tocsin.conf": "as above; test_hosts.py runs Debian's supervisor with it",
    "supervisorctl update": "asks Debian's supervisor, which is not running",
    "fly": "needs the host; test_hosts.py runs the start command",
    "railway": "as above",
    "doctl": "as above",
    "heroku": "as above",
}
FILE = re.compile(r"(?:[\w.-]+/)*(?:[\w-]+\.(?:toml|conf|ya?ml|lock|json|service|md|py|sh)|Dockerfile|\.env\.example)")


def commands(block: Block) -> Iterator[tuple[int, str]]:
    """Line number and text of each command: a line, with those that its backslashes, quotes or << add."""
    begun, number = "", 0
    for offset, line in enumerate(block.text.splitlines()):
        number = number if begun else block.line + offset
        begun += line + "\n"
        parsed = subprocess.run(["bash", "-n"], input=begun, text=True, capture_output=True, check=False)
        if line.endswith("\\") or parsed.returncode or parsed.stderr:  # a warning: << without its end
            continue
        if begun.strip() and not begun.lstrip().startswith("#"):
            yield number, begun.rstrip("\n")
        begun = ""
    assert not begun, f"{block}: this does not end: {begun}"


def words_of(command: str) -> list[str]:
    """Roughly: good enough to know a command by its first words, and the files it names."""
    return [word.strip("'\"") for word in command.partition(" #")[0].split()]


def cannot(command: str) -> str | None:
    """Why it is not run, if it is not; of the first words that fit, the most count."""
    words = words_of(command)
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)
    known = [first for first in CANNOT if words[: len(first.split())] == first.split()]
    best = max(known, key=len, default=None)
    if best is None or (best == "make" and len(words) > 1):
        return None
    return CANNOT[best]


def named(command: str) -> list[str]:
    words = [re.split(r"[=:]", word)[-1 if "=" in word else 0] for word in words_of(command)]
    return [word.removeprefix("./") for word in words if FILE.fullmatch(word.removeprefix("./"))]


def ignored(_: str, names: list[str]) -> set[str]:
    return {n for n in names if n in NOT_OURS | {".env"} or n.startswith((".venv", ".coverage")) or "cache" in n}


class House:
    """The daemon under supervisord, and the demo app that it calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder / "shared", ignore=ignored)
        self.shared = folder / "shared"
        (self.shared / "var" / "log").mkdir(parents=True)
        (folder / "home").mkdir()
        self.ports = {"9911": str(free_port()), "9912": str(free_port())}
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "API_BASE_URL": f"http://127.0.0.1:{self.ports['9912']}",
            "CRON_SECRET": SECRET,
            "TOCSIN_LISTEN": f"127.0.0.1:{self.ports['9911']}",
        }
        self.log = (folder / "log").open("wb")
        self.started = [
            self.start("tocsin", "demo", "--listen", f"127.0.0.1:{self.ports['9912']}"),
            self.start("supervisord", "-n", "-c", "supervisord.conf"),
        ]

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [BIN / command[0], *command[1:]], cwd=self.shared, env=self.environment, stdout=self.log, stderr=self.log
        )

    def run(self, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )

    def page(self, page: Path) -> Path:
        """A folder of its own for a page."""
        copy = self.folder / page.stem
        shutil.copytree(self.shared, copy, ignore=ignored)
        (copy / "var").symlink_to(self.shared / "var")
        return copy

    def close(self) -> None:
        down = self.run("supervisorctl -c supervisord.conf shutdown", self.shared)
        self.started[0].terminate()
        for process in self.started:
            process.wait(PATIENCE)
        self.log.close()
        assert down.stdout == "Shut down\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    one = House(tmp_path_factory.mktemp("docs"))
    try:
        until(lambda: one.run("tocsin fire sla-check", one.shared).returncode == 0, "the daemon to fire")
        yield one
    finally:
        one.close()


def script_of(page: Path, ports: dict[str, str], folder: Path) -> tuple[str, int]:
    """Writes the files of a page and runs its commands, in their order; and how many commands there are."""
    lines, count = ["set -eu -o pipefail"], 0
    there = {block.name for block in split(page)[1] if block.name}
    for number, block in enumerate(split(page)[1]):
        if block.name:
            (folder / f".block-{number}").write_text(block.text + "\n")
            lines.append(
                f"mkdir -p {shlex.quote(str(Path(block.name).parent))}; cp .block-{number} {shlex.quote(block.name)}"
            )
        if block.language != "sh":
            continue
        for line, command in commands(block):
            if cannot(command):
                for file in named(command):
                    assert file in there or (folder / file).exists(), f"{block}: there is no {file}: {command}"
                continue
            for port, real in ports.items():
                command = re.sub(rf"(127\.0\.0\.1|localhost):{port}\b", rf"\1:{real}", command)
            lines += [f"echo {shlex.quote(f'{page.name}:{line}$ {command}')}", command]
            count += 1
    return "\n".join(lines), count


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_the_commands_of(page: Path, house: House) -> None:
    if not any(block.language == "sh" for block in split(page)[1]):
        return
    folder = house.page(page)
    script, count = script_of(page, house.ports, folder)
    if count:
        done = house.run(script, folder)
        assert done.returncode == 0, done.stdout[-4000:]
        assert "Traceback" not in done.stdout


def test_what_would_fail_fails(house: House, tmp_path: Path) -> None:
    page = tmp_path / "bad.md"
    page.write_text("```toml tocsin.toml\n[jobs]\n```\n```sh\ntocsin jobs\ntocsin check   # it has no job\ntrue\n```\n")
    folder = house.page(page)
    script, count = script_of(page, house.ports, folder)
    done = house.run(script, folder)
    assert count == 3
    assert done.returncode == 2
    assert "bad.md:6$ tocsin check" in done.stdout
    assert "has no job" in done.stdout
    assert "$ true" not in done.stdout


def test_what_is_not_run_names_files_that_exist(house: House, tmp_path: Path) -> None:
    page = tmp_path / "docker.md"
    page.write_text(
        "```sh\ndocker compose -f compose.yaml up\ndocker build -f Dockerfil.dev .\nsudo cp gone.service /etc\n```\n"
    )
    with pytest.raises(AssertionError, match=r"there is no gone\.service"):
        script_of(page, house.ports, house.page(page))


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        ("make run", False),
        ("make", False),
        ("make lint", True),
        ("LOG_LEVEL=debug tocsin run -c x.toml", False),
        ("tocsin runs", True),
        ("supervisorctl -c supervisord.conf status", True),
        ("supervisorctl -c supervisord.conf shutdown", False),
        ("tocsin check && tocsin reload", True),
    ],
)
def test_what_is_run(command: str, runs: bool) -> None:
    assert (cannot(command) is None) == runs


def test_lines_are_put_together() -> None:
    text = "# a comment\na \\\n  b\n\nc 'd\ne'\nf <<X\ng\nX\nh"
    assert list(commands(Block(ROOT, 10, "sh", "", text))) == [
        (11, "a \\\n  b"),
        (14, "c 'd\ne'"),
        (16, "f <<X\ng\nX"),
        (19, "h"),
    ]
