"""What `make run` does once all is installed: Tocsin under supervisord in this terminal, until Ctrl-C.

With an API_BASE_URL, in the environment or in .env, it runs tocsin.toml against that app; without one,
examples/demo. It starts nothing unless the job file is valid and the ports are free.
"""

# ruff: noqa: T201 (it is a command: it prints)

import os
import re
import secrets
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from types import FrameType

from tocsin import config
from tocsin.config import dotenv
from tocsin.jobfile.faults import ConfigError
from tocsin.jobfile.values import parse_address
from tocsin.parent.state_folder import held_by

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "examples" / "demo"
BIN = Path(sys.executable).parent
STOPPED_BY = "Ctrl-C stops everything; again, without waiting for running calls."
Address = tuple[str, int]


def main() -> int:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    demo = None
    keep_to_oneself(ROOT / ".env")
    if has_app(environment):
        conf, jobs = ROOT / "foreground.conf", config.find(environment=environment)
    else:
        conf, jobs = DEMO / "supervisord.conf", DEMO / "tocsin.toml"
        demo = parse_address(environment.setdefault("DEMO_LISTEN", "127.0.0.1:9912"))
        environment |= session(demo)
    environment[config.CONFIG_VARIABLE] = str(jobs)
    try:
        loaded = config.load(jobs, environment)
    except ConfigError as error:
        return refuse(str(error), 2)
    needed = {"TOCSIN_LISTEN": loaded.listen} | ({"DEMO_LISTEN": demo} if demo else {})
    taken = [why for variable, address in needed.items() if (why := cannot_listen(address, variable))]
    if taken:
        return refuse("\n".join(taken), 1)
    for folder in (ROOT / "var" / "log", DEMO / "var"):  # supervisord makes none
        folder.mkdir(parents=True, exist_ok=True)
    announce(loaded.listen, demo)
    return supervise(conf, environment, loaded.state_dir)


def keep_to_oneself(file: Path) -> None:
    """Take from everyone else a file of secrets that others may read, as `cp .env.example .env` leaves it."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return  # there is none, or it is a link; what is wrong with it the reading of the job file says
    with os.fdopen(descriptor) as opened:
        found = os.fstat(opened.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IROTH and found.st_uid == os.geteuid():
            os.fchmod(opened.fileno(), 0o600)
            print(
                f"{file.name} was readable by every user of this machine; it is now readable by you alone.", flush=True
            )


def has_app(environment: dict[str, str]) -> bool:
    return bool((dotenv.read(ROOT / config.DEFAULT_FILE, environment).values | environment).get("API_BASE_URL"))


def session(demo: Address) -> dict[str, str]:
    """The demo's URL and a fresh secret; also put beside its job file, for `tocsin jobs` in another terminal."""
    values = {"API_BASE_URL": f"http://{shown(demo)}", "CRON_SECRET": secrets.token_hex(32)}
    file = DEMO / ".env"
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.writelines(f"{key}={value}\n" for key, value in values.items())
    return values


def cannot_listen(address: Address, variable: str) -> str:
    """Why the address cannot be had, and what to do; empty when it can."""
    host, port = address
    try:
        with socket.create_server(address, family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return ""
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        other = shown((host, port + 10))
        return f"cannot listen on {shown(address)}: {why}; stop what uses it, or: {variable}={other} make run"


def announce(listen: Address, demo: Address | None) -> None:
    base = f"http://{shown(listen)}".replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
    lines = ["", f"  status page   {base}/", f"  metrics       {base}/metrics"]
    command = ".venv/bin/tocsin jobs"
    if demo:
        lines[0] = "Tocsin, and the bundled demo app (for your own: install -m 600 .env.example .env, and edit it)"
        lines += [f"  demo app      http://{shown(demo)}/"]
        command += " -c examples/demo/tocsin.toml"
    else:
        lines[0] = "Tocsin"
    lines += [
        f"  ask it        {command}    (in another terminal)",
        STOPPED_BY,
        "",
    ]
    print("\n".join(lines), flush=True)


def supervise(conf: Path, environment: dict[str, str], state_dir: Path) -> int:
    """Run supervisord until it ends; its exit code. Ctrl-C, SIGTERM and a closed terminal all stop it. Ctrl-C again
    ends running calls: supervisord, which is stopping already, would not pass it on."""
    stopping = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)  # until there is somebody to stop

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)

    with subprocess.Popen([BIN / "supervisord", "-c", conf], env=environment, preexec_fn=unblock) as process:
        stopped = False

        def stop(number: int, _frame: FrameType | None) -> None:
            nonlocal stopped
            process.terminate()  # by itself it would take the hang-up for a wish to reload
            if (
                stopped
                and number == signal.SIGINT
                and (daemon := re.match("process ([0-9]+) ", held_by(state_dir) or ""))
            ):
                os.kill(int(daemon[1]), signal.SIGINT)
            stopped = True

        for number in stopping:
            signal.signal(number, stop)
        unblock()
        code = process.wait()
    print("Stopped.", flush=True)
    return code


def shown(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def refuse(why: str, code: int) -> int:
    print(f"Not started:\n{why}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
