"""What Tocsin says of a Python that it cannot use, or one that has no time zones."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

from tocsin.cli import main

NO_ZONES = """
import sys
sys.modules["tzdata"] = None  # as if the package were not installed
from tocsin.cli import main
main(["next", "@daily"])
"""


def test_without_any_time_zones_the_way_out_is_said() -> None:
    environment = os.environ | {"PYTHONTZPATH": ""}
    done = subprocess.run([sys.executable, "-c", NO_ZONES], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "'UTC': this machine has no time zone data: install tzdata" in done.stderr


def test_a_free_threaded_build_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No such build can be had here, so only its answer to that question is given."""
    (tmp_path / "tocsin.toml").write_text('[jobs.a]\nevery = "1h"\nurl = "http://127.0.0.1:1/a"\n')
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": 1}.get)
    result = CliRunner().invoke(main, ["run", "-c", str(tmp_path / "tocsin.toml")])
    assert result.exit_code == 2
    assert "cannot run on a free-threaded Python" in result.stderr
    assert not (tmp_path / "var").exists()
