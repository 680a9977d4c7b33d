"""A volume of a small size: a tmpfs in a mount namespace of its own, which nobody else sees."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


class Volume:
    """Mounted at `mount` for who is `within` its namespace."""

    def __init__(self, mount: Path, size: str) -> None:
        mount.mkdir(exist_ok=True)
        script = 'mount -t tmpfs -o "size=$1,mode=700" tmpfs "$0" && echo mounted && exec sleep infinity'
        self.mount = mount
        self._holder = subprocess.Popen(["unshare", "-m", "sh", "-c", script, mount, size], stdout=subprocess.PIPE)
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"mounted\n"
        self.within = ["nsenter", "-t", str(self._holder.pid), "-m"]
        self._seen = Path(f"/proc/{self._holder.pid}/root{mount}")  # (SQLite resolves that name, and is then outside)

    def run(self, file: str, function: str) -> None:
        """Have `file`, run as a script, call a function within, with the folder; what it asserts is asserted here."""
        command = [*self.within, sys.executable, file, function, str(self.mount)]
        done = subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path)}, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def fill(self) -> Path:
        """Take all room with one file."""
        return filled(self._seen)

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout
        self._holder.stdout.close()


def mounted(mount: Path, size: str) -> Iterator[Volume]:
    """For a fixture."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a volume")
    volume = Volume(mount, size)
    yield volume
    volume.close()


def resize(mount: Path, size: str) -> None:
    """From within."""
    subprocess.run(["mount", "-o", f"remount,size={size}", mount], check=True)


def filled(folder: Path, leaving: int = 0) -> Path:
    """A file that takes all room but `leaving` bytes."""
    volume = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(volume.f_bavail * volume.f_frsize - leaving))
    return ballast
