"""A daemon without [notify] loads nothing of it, and Apprise is loaded by nobody but the notifier."""

import subprocess
import sys
from pathlib import Path

from harness import free_port

LOADED = """
import sys
from pathlib import Path
from tocsin import cli, config
from tocsin.exporter import main as exporter
from tocsin.job import program as job
from tocsin.job.warmup import rehearse
from tocsin.ledger import main as ledger
from tocsin.parent import main as parent
config.load(Path(sys.argv[1]))
print(*sorted(name for name in sys.modules if name.startswith(("tocsin.notifier", "apprise", "requests"))))
"""
JOB = '[jobs.a]\nevery = "1m"\nurl = "http://127.0.0.1:1"\n'


def loaded(file: Path, text: str) -> str:
    file.write_text(text)
    environment = {"URLS": f"json://127.0.0.1:{free_port()}/x"}
    result = subprocess.run(
        [sys.executable, "-c", LOADED, file], env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_the_parent_loads_nothing_of_it(tmp_path: Path) -> None:
    assert loaded(tmp_path / "tocsin.toml", JOB) == ""


def test_the_parent_does_not_load_apprise_for_addresses(tmp_path: Path) -> None:
    assert loaded(tmp_path / "tocsin.toml", '[notify]\nurls_env = "URLS"\n' + JOB) == ""
