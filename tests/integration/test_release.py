"""What is released: built from this tree, installed where nothing else is, and run."""

import hashlib
import json
import re
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import dist
import harness
from harness import Daemon, Endpoint, until
from tocsin import __version__

ROOT = Path(__file__).parents[2]

PERMISSIVE = {
    *("MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "PSF-2.0", "Python-2.0", "ISC"),
    "License :: OSI Approved :: BSD License",  # Jinja2: BSD-3-Clause
    "License :: OSI Approved :: Apache Software License",  # aiosignal
    "BSD-derived (http://www.repoze.org/LICENSE.txt)",  # supervisor: the BSD's three clauses, and trademarks
}
# Only with tocsin[postgres], used as a library and unchanged, which the LGPL lets a work under any licence do.
DELIBERATE = {
    "psycopg": {"LGPL-3.0-only"},
    "psycopg-binary": {"LGPL-3.0-only"},
    # Only with tocsin[notify]: a list of certificates, unchanged.
    "certifi": {"MPL-2.0", "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)"},
}


@dataclass(frozen=True)
class Release:
    folder: Path
    wheel: Path
    sdist: Path
    bin: Path  # of the environment it is installed in


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("release")
    dist.build(ROOT, folder)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Release(folder, wheel, sdist, dist.clean_environment(folder / "environment", wheel))


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_wheel_has_the_whole_package_and_nothing_else(release: Release) -> None:
    package = ROOT / "daemon" / "tocsin"
    files = {
        f"tocsin/{file.relative_to(package)}"
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {"tocsin/py.typed", "tocsin/exporter/templates/base.html", "tocsin/exporter/static/page.css"} < files
    names = set(zipfile.ZipFile(release.wheel).namelist())
    about = f"tocsin-{__version__}.dist-info"
    assert {name for name in names if not name.startswith(about)} == files
    assert {f"{about}/METADATA", f"{about}/licenses/LICENSE", f"{about}/entry_points.txt"} < names


def test_the_sdist_makes_the_same_wheel(release: Release, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", release.sdist, "-C", tmp_path], check=True)
    [tree] = tmp_path.iterdir()
    tracked = {
        "Makefile",
        "pyproject.toml",
        "requirements.lock",
        "supervisord.conf",
        "tocsin.schema.json",
        "scripts/need",
    }
    assert tracked < {str(file.relative_to(tree)) for file in tree.rglob("*")}
    assert not [file for file in tree.rglob("*") if file.name == ".env" or "var" in file.relative_to(tree).parts]
    dist.build(tree, tmp_path / "again", "wheel")
    [wheel] = (tmp_path / "again").iterdir()
    assert digest(wheel) == digest(release.wheel)


def test_the_same_commit_gives_the_same_sdist(release: Release, tmp_path: Path) -> None:
    dist.build(ROOT, tmp_path, "sdist")
    assert digest(tmp_path / release.sdist.name) == digest(release.sdist)


def test_the_version_stands_in_one_place(release: Release) -> None:
    assert release.wheel.name == f"tocsin-{__version__}-py3-none-any.whl"
    said = subprocess.run([release.bin / "tocsin", "--version"], capture_output=True, text=True, check=True).stdout
    assert said == f"tocsin, version {__version__}\n"
    package = ROOT / "daemon" / "tocsin"
    holding = [file.name for file in package.rglob("*.py") if f'"{__version__}"' in file.read_text()]
    assert holding == ["__init__.py"]
    assert __version__ not in (ROOT / "pyproject.toml").read_text()


def test_nothing_but_the_lock_is_there(release: Release) -> None:
    code = "from importlib.metadata import distributions; print(*sorted({d.name for d in distributions()}), sep='\\n')"
    found = subprocess.run([release.bin / "python", "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(map(normal, found.split())) == {normal(one.name) for one in dist.locked()} | {"tocsin"}
    where = subprocess.run(
        [release.bin / "python", "-c", "import tocsin; print(tocsin.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    assert Path(where.strip()).is_relative_to(release.folder)


def test_it_runs(release: Release, tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "TOCSIN", release.bin / "tocsin")
    daemon = Daemon(tmp_path, endpoint)
    daemon.write('[jobs.tick]\nevery = "1h"\npath = "/tick"\n')
    checked = daemon.run("check")
    assert (checked.returncode, checked.stderr) == (0, "")
    daemon.start()
    try:
        until(lambda: daemon.metric("tocsin_job_process_up", job_name="tick") == 1.0, "the daemon")
        fired = daemon.run("fire", "tick")
        assert fired.returncode == 0, fired.stderr
        assert [call.path for call in endpoint.calls] == ["/tick"]
        assert endpoint.calls[0].headers["user-agent"] == f"Tocsin/{__version__}"
        assert "<title>" in daemon.get("/")
        styles = re.findall(r'(?:href|src)="(/[^"]*\.(?:css|js|svg)[^"]*)"', daemon.get("/"))
        assert styles
        assert all(daemon.get(path) for path in styles)
        assert [row["outcome"] for row in daemon.history("tick")] == ["success"]
        assert daemon.stop() == 0
    finally:
        daemon.cleanup()


# ---- what it is installed with


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licences(component: dict[str, Any]) -> set[str]:
    found = set()
    for one in component.get("licenses", []):
        licence = one.get("license", {})
        text = one.get("expression") or licence.get("id") or licence.get("name")
        found |= {text} if "License" in text or "(" in text else set(re.split(r" (?:AND|OR) ", text))
    return found


def test_every_dependency_is_listed_with_a_permissive_licence(release: Release, tmp_path: Path) -> None:
    dist.list_of(release.bin, tmp_path / "list", "--no-validate")  # make dist does
    text = (tmp_path / "list").read_text()
    assert str(release.folder) not in text
    found = json.loads(text)
    about = found["metadata"]["component"]
    assert (about["name"], about["version"], licences(about)) == ("tocsin", __version__, {"MIT"})
    listed = {normal(one["name"]): one for one in found["components"]}
    assert listed.keys() == {normal(one.name) for one in dist.locked()}
    for requirement in dist.locked():
        one = listed[normal(requirement.name)]
        assert one["version"] in requirement.specifier
        assert licences(one), requirement.name
        allowed = PERMISSIVE | DELIBERATE.get(normal(requirement.name), set())
        assert licences(one) <= allowed, (requirement.name, licences(one) - allowed)


def test_a_package_that_is_not_the_locked_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.lock").write_text("click==0.1 \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(dist, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"click .* is installed, and click==0\.1 is locked"):
        dist.clean_environment(tmp_path / "environment", tmp_path / "no.whl")
