"""Installing tools below the cache folder, each once for each version of what names its versions."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from punctuality.peer import Absent

HERE = Path(__file__).parent / "peers"


def once(
    folder: Path, named_by: Sequence[Path], *commands: Sequence[str], environment: Mapping[str, str] | None = None
) -> None:
    """Run the commands in `folder` unless they ran there for these same files. Raises Absent with the last words."""
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in named_by) + repr(commands).encode()).hexdigest()
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == digest:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in named_by:
        shutil.copy(file, folder)
    for words in commands:
        try:
            done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise Absent(f"{words[0]} is not here") from None
        if done.returncode:
            raise Absent(f"{' '.join(words)} failed: {(done.stdout + done.stderr)[-500:].strip()}")
    stamp.write_text(digest)


def python(cache: Path, name: str, *files: str) -> None:
    """A virtual environment `name` with what peers/python/NAME.lock names, and these files of peers/python."""
    folder = cache / name
    lock = HERE / "python" / f"{name}.lock"
    pip = [".venv/bin/pip", "--disable-pip-version-check", "--quiet"]
    named_by = [lock, *(HERE / "python" / file for file in files)]
    once(
        folder,
        named_by,
        [sys.executable, "-m", "venv", ".venv"],
        [*pip, "install", "--require-hashes", "--no-deps", "-r", lock.name],
        [*pip, "check"],
    )


def needs(program: str, package: str) -> str:
    """The path of a program that the system has. Raises Absent."""
    found = shutil.which(program, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise Absent(f"{program} is not here (apt-get install {package})")
    return found


def version(*words: str) -> str:
    """The first line that a program says of itself."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().split("\n")[0]
