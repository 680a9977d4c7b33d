"""A fresh machine, also next month: the locks and `make`, beside an index that has a newer version of everything.

That index is a folder of empty wheels, one for each locked package, given to pip as a second place to look.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import until
from locks import HEROKU, LOCKS, PIPS, ROOT, Install, installs, named

NEWER = "9999999999.0"
PATIENCE = 300.0  # seconds until a test gives up on an installation
# What make installs, and Heroku. The other places install a part of that in the same way (unit/test_locks.py).
COMMANDS = [one for one in installs() if one.place == "Makefile" or one.place.endswith(HEROKU.name)]


def empty_wheel(folder: Path, name: str) -> None:
    name = name.replace("-", "_")
    about = f"{name}-{NEWER}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{NEWER}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {NEWER}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


@dataclass(frozen=True)
class Shelf:
    """Folders of wheels: what the locks name, as the registry has it, and an empty newer version of each."""

    registry: Path
    newer: Path

    @property
    def environment(self) -> dict[str, str]:
        """For pip: these two folders and nothing else, so that the registry is asked once."""
        found = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        return found | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{self.registry} {self.newer}"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    one = Shelf(tmp_path_factory.mktemp("registry"), tmp_path_factory.mktemp("newer"))
    locks = [word for lock in LOCKS for word in ("-r", str(ROOT / lock))]
    download = ["download", "--quiet", "--no-deps", "--require-hashes", "--dest", str(one.registry), *locks]
    subprocess.run([sys.executable, "-m", "pip", *download], check=True)
    for name in named(*LOCKS):
        empty_wheel(one.newer, name)
    return one


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has nothing in it, not even pip."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin" / "python"


@pytest.fixture(scope="module", params=PIPS)
def pip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pip of that version, which runs from its wheel."""
    folder = tmp_path_factory.mktemp("pip")
    wanted = "pip" if request.param == "newest" else f"pip=={request.param}"
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, wanted], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel / "pip"


def would_install(pip: Path, bare: Path, shelf: Shelf, words: list[str], report: Path) -> dict[str, str]:
    """Name -> version of what pip says that it would install."""
    command = [str(pip), "--python", str(bare), "install", "--quiet", "--dry-run", "--report", str(report), *words]
    done = subprocess.run(
        [sys.executable, *command], env=shelf.environment, capture_output=True, text=True, timeout=PATIENCE
    )
    if done.returncode:
        raise ValueError(done.stderr)
    found = [one["metadata"] for one in json.loads(report.read_text())["install"]]
    return {re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"] for one in found}


@pytest.mark.parametrize("one", COMMANDS, ids=str)
def test_a_lock_installs_exactly_what_it_names(
    one: Install, pip: Path, bare: Path, shelf: Shelf, tmp_path: Path
) -> None:
    words = one.words()
    if one.place.endswith(HEROKU.name):
        for file in (HEROKU, *(ROOT / lock for lock in one.locks)):
            shutil.copy(file, tmp_path)
        words = ["-r", str(tmp_path / HEROKU.name)]
    assert would_install(pip, bare, shelf, words, tmp_path / "report") == named(*one.locks)


@pytest.mark.parametrize("pip", ["23.2.1"], indirect=True)
def test_a_lock_without_its_extras_that_pip_must_resolve_is_refused(
    pip: Path, bare: Path, shelf: Shelf, tmp_path: Path
) -> None:
    """As it was: set-up broke on the day when coverage was released. So the newer index is seen to matter."""
    lock = tmp_path / "old.lock"
    lock.write_text(re.sub(r"^([\w.-]+)\[[\w,-]+\]==", r"\1==", (ROOT / LOCKS[-1]).read_text(), flags=re.MULTILINE))
    with pytest.raises(ValueError, match="all requirements must have their versions pinned"):
        would_install(pip, bare, shelf, ["--require-hashes", "-r", str(lock)], tmp_path / "report")


# ---- make


@dataclass(frozen=True)
class Make:
    """`make` in this tree, with a virtual environment elsewhere."""

    venv: Path
    environment: dict[str, str]

    def start(self, target: str) -> subprocess.Popen[str]:
        command = ["make", "--no-print-directory", f"VENV={self.venv}", f"PYTHON={sys.executable}"]
        return subprocess.Popen(
            [*command, f"{self.venv}/{target}"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def ends(self, target: str) -> str:
        """What it says; it must succeed."""
        process = self.start(target)
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert process.returncode == 0, said
        return said

    def has(self) -> dict[str, str]:
        """Name -> version of what is installed, but for pip's own."""
        command = [f"{self.venv}/bin/python", "-m", "pip", "list", "--format", "json"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = {re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"] for one in json.loads(done.stdout)}
        return {name: version for name, version in found.items() if name not in ("pip", "setuptools", "wheel")}

    def works(self) -> bool:
        command = f'"{self.venv}/bin/pip" --version'
        return f" from {self.venv}/" in subprocess.run(command, shell=True, capture_output=True, text=True).stdout


@pytest.fixture
def make(tmp_path: Path, shelf: Shelf) -> Make:
    return Make(tmp_path / "venv", shelf.environment)


def test_make_installs_exactly_what_the_locks_name_also_after_it_was_killed_in_the_middle(make: Make) -> None:
    process = make.start("run")
    try:
        until((make.venv / "unfinished").exists, "the installation to begin", PATIENCE)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert "Creating" in make.ends("run")
    installed = make.has()
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", installed.pop("tocsin"))
    assert installed == named("requirements.lock", "requirements-build.lock")
    assert subprocess.run([make.venv / "bin" / "tocsin", "--version"]).returncode == 0
    before = (make.venv / "run").stat().st_mtime_ns
    assert make.ends("run") == ""
    assert (make.venv / "run").stat().st_mtime_ns == before


def test_an_environment_that_does_not_work_is_made_anew(make: Make, tmp_path: Path) -> None:
    def mended(one: Make, what: str) -> None:
        assert not one.works(), what
        assert "Creating" in one.ends("bin/pip"), what
        assert one.works(), what
        assert one.ends("bin/pip") == "", what

    venv.create(make.venv, symlinks=True, with_pip=False)
    mended(make, "it never got its pip")
    for link in (make.venv / "bin").glob("python*"):
        link.unlink()
        link.symlink_to(tmp_path / "no-python")
    mended(make, "its Python is gone")
    moved = Make(tmp_path / "moved", make.environment)
    make.venv.rename(moved.venv)
    mended(moved, "it was moved")
    copied = Make(tmp_path / "copied", make.environment)
    shutil.copytree(moved.venv, copied.venv, symlinks=True)
    mended(copied, "it was copied")
