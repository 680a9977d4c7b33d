"""Builds what is released, into dist/: the wheel, the sdist, and a CycloneDX list of what the wheel runs with.

make dist

Nothing is downloaded: hatchling is in this environment, and so are the packages that are listed. The same commit
gives the same bytes.
"""

# ruff: noqa: T201 (it is a command: it prints)

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tocsin import __version__

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def build(source: Path, target: Path, *kinds: str) -> None:
    """Wheel and sdist of a source tree, or only the kinds named."""
    options = [word for kind in kinds for word in ("-t", kind)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": epoch()}
    subprocess.run([BIN / "hatchling", "build", "-d", target, *options], cwd=source, env=environment, check=True)


def epoch() -> str:
    """When the last commit was made, in Unix seconds; without git, hatchling's own fixed instant."""
    asked = os.environ.get("SOURCE_DATE_EPOCH")
    if asked or not (ROOT / ".git").exists():
        return asked or "1580601600"
    return subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def locked(lock: str = "requirements.lock") -> Iterator[Requirement]:
    """The packages of a lock file that this Python and system need."""
    for line in (ROOT / lock).read_text().splitlines():
        if line and not line.startswith((" ", "#", "--")):
            requirement = Requirement(line.removesuffix("\\"))
            if requirement.marker is None or requirement.marker.evaluate():
                yield requirement


def clean_environment(folder: Path, wheel: Path) -> Path:
    """A virtual environment with the wheel and the locked packages, and nothing else; its bin folder.

    The packages are links to those of this environment, which pip has checked against the lock's hashes.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    [site] = folder.glob("lib/python*/site-packages")
    for requirement in locked():
        installed = metadata.distribution(requirement.name)
        if installed.version not in requirement.specifier:
            raise ValueError(f"{requirement.name} {installed.version} is installed, and {requirement} is locked")
        for name in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(str(installed.locate_file(name)))
    pip: list[str | Path] = [
        BIN / "pip",
        "--disable-pip-version-check",
        "--python",
        folder / "bin" / "python",
        "--quiet",
        "install",
    ]
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True)
    return folder / "bin"


def list_of(environment: Path, target: Path, *more: str) -> None:
    """Write the CycloneDX file of an environment; cyclonedx-py checks it against CycloneDX' schema, in 15 seconds."""
    options: list[str | Path] = [
        "--output-reproducible",
        "--pyproject",
        ROOT / "pyproject.toml",
        "--mc-type",
        "application",
    ]
    command = [BIN / "cyclonedx-py", "environment", *options, *more, environment / "python"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found["metadata"]["component"]["version"] = __version__  # which pyproject.toml leaves to the package
    for one in found["components"]:
        if not one.get("licenses"):  # supervisor's is none that has an SPDX name
            one["licenses"] = [{"license": {"name": metadata.metadata(one["name"])["License"]}}]
    target.write_text(json.dumps(found, indent=2) + "\n")


def main() -> None:
    target = ROOT / "dist"
    target.mkdir(exist_ok=True)
    for old in target.glob("tocsin-*"):
        old.unlink()
    build(ROOT, target)
    [wheel] = target.glob("*.whl")
    with tempfile.TemporaryDirectory() as name:
        list_of(clean_environment(Path(name), wheel), target / f"tocsin-{__version__}.cdx.json")
    for file in sorted(target.iterdir()):
        print(f"{file.relative_to(ROOT)}  {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
