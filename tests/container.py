"""The Dockerfile's steps, taken from the Dockerfile, into a folder: what the tests of container and hosts run.

No container engine is asked for. Every path of the image lies under /srv, so a folder stands in for it; what
needs a whole system (apt-get, useradd) is left to the image and only looked at.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 90.0  # seconds until a test gives up
AS_ROOT = os.geteuid() == 0


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


@dataclass
class Image:
    """The last stage, with a folder for its root."""

    root: Path
    workdir: Path = Path("/")
    environment: dict[str, str] = field(default_factory=dict)
    user: int = 0
    command: dict[str, list[str]] = field(default_factory=dict)
    system: list[str] = field(default_factory=list)

    def path(self, name: str) -> str:
        """Paths of the image as paths of this machine."""
        return name.replace("/srv/", f"{self.root}/srv/")

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """The command as a container would run it: its user, its environment, a session of its own."""
        given = {**self.environment, **environment, "TINI_SUBREAPER": "1"}  # as it would be for process 1
        reading, writing = os.pipe()
        if AS_ROOT:  # runc and crun do so as well, that /dev/stdout can be opened
            os.fchown(writing, self.user, self.user)
        process = subprocess.Popen(
            [self.path(word) for word in command],
            cwd=self.workdir,
            env=given,
            user=self.user if AS_ROOT else None,
            group=self.user if AS_ROOT else None,
            extra_groups=[] if AS_ROOT else None,
            start_new_session=True,
            stdout=writing,
            stderr=writing,
            text=True,
        )
        os.close(writing)
        process.stdout = os.fdopen(reading)
        return process

    def ends(self, *command: str, **environment: str) -> tuple[int, str]:
        """Exit code and output of a command that ends by itself."""
        with self.start(*command, **environment) as process:
            out, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, out


def python_for(user: int) -> str:
    """A Python that the image's user may run; root's own may lie where nobody else can look."""
    for python in (os.path.realpath(shutil.which("python3") or ""), "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            code = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
            if subprocess.run([python, "-c", code], user=user if AS_ROOT else None, cwd="/").returncode == 0:
                return python
        except OSError:
            continue
    raise AssertionError("there is no Python 3.11 that an unprivileged user may run")


def build(root: Path, python: str) -> Image:
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(python)
    path = f"{root}/bin:{os.environ['PATH']}"
    image = Image(root)
    stages = 0
    for word, rest in instructions():
        match word:
            case "FROM":
                assert re.match(r"python:3\.13\.\d+-slim-trixie\b", rest), rest
                stages += 1
                image = Image(root, environment={"PATH": path})
                if (root / "srv").exists():
                    (root / "srv").rename(root / "build")
            case "WORKDIR":
                image.workdir = Path(image.path(rest))
                image.workdir.mkdir(parents=True)
            case "RUN" if rest.startswith("apt-get"):
                image.system = rest.split(" && ")
            case "RUN":
                command = image.path(rest)
                environment = {**os.environ, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
                done = subprocess.run(
                    ["sh", "-ec", command], cwd=image.workdir, env=environment, capture_output=True, text=True
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            case "COPY":
                copy(image, rest.split())
            case "ENV":
                for pair in shlex.split(rest.replace("$PATH", image.environment["PATH"])):
                    name, _, value = pair.partition("=")
                    image.environment[name] = image.path(value)
            case "USER":
                image.user = int(rest.partition(":")[0])
            case "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                image.command[word] = json.loads(rest[rest.index("[") :])
            case _:
                assert word in ("LABEL", "EXPOSE", "STOPSIGNAL"), f"the test does not know {word}"
    assert stages == 2
    return image


def copy(image: Image, words: list[str]) -> None:
    options = [word for word in words if word.startswith("--")]
    *sources, target = words[len(options) :]
    for name in sources:
        inside = name.startswith("/")
        source = image.root / name.replace("/srv/", "build/") if inside else ROOT / name
        destination = Path(image.path(target)) if inside else image.workdir / target
        if source.is_dir():
            shutil.copytree(source, destination, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, destination)
        for option in options:
            if AS_ROOT and option.startswith("--chown="):
                owner = int(option.partition("=")[2].partition(":")[0])
                for one in [destination, *destination.rglob("*")]:
                    os.chown(one, owner, owner)


@contextmanager
def built() -> Iterator[Image]:
    """The image, built once for all tests that run it."""
    (user,) = (int(rest.partition(":")[0]) for word, rest in instructions() if word == "USER")
    folder = Path(tempfile.mkdtemp(prefix="tocsin-image-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        image = build(folder, python_for(user))
        shutil.rmtree(folder / "build")  # the last stage has only what it copied
        subprocess.run(["chmod", "-R", "a-w", folder / "srv"], check=True)  # read_only, as in compose.yaml
        subprocess.run(["chmod", "-R", "u+w", folder / "srv" / "tocsin" / "var"], check=True)
        yield image
    finally:
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)
        shutil.rmtree(folder)


def stopped(process: subprocess.Popen[str]) -> str:
    """All its output, after SIGTERM; nothing of its session may be left."""
    with process:
        process.send_signal(signal.SIGTERM)
        try:
            out, _ = process.communicate(timeout=PATIENCE)
        finally:
            left = members(process.pid)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
    print(out)  # shown when the test fails
    assert left == []
    return out


def members(session: int) -> list[int]:
    """The processes of the session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its = stat.read_text().rpartition(") ")[2].split()[:4]
        except OSError:  # gone meanwhile
            continue
        if int(its) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found
