"""Packages from npm that only the tests use. A folder's package-lock.json pins them."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PATIENCE = 300.0  # seconds: a cold npm cache and a busy machine


def missing() -> list[str]:
    """Return the Debian packages that must be installed first."""
    return [package for package, command in (("nodejs", "node"), ("npm", "npm")) if not shutil.which(command)]


# With CI=1 they fail instead of being skipped.
needs_node = pytest.mark.skipif(
    bool(missing()) and not os.environ.get("CI"), reason=f"install {' and '.join(missing())} to run this"
)


def install(folder: Path) -> Path:
    """Run `npm ci`, unless the lock file is what was installed last. Return the folder of the packages."""
    assert not missing(), f"this needs: apt-get install {' '.join(missing())}"
    modules, lock = folder / "node_modules", folder / "package-lock.json"
    installed = modules / ".tocsin-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_bytes() != lock.read_bytes():
            done = subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            assert done.returncode == 0, f"npm ci in {folder}: {done.stderr}"
            shutil.copy(lock, installed)
    return modules
