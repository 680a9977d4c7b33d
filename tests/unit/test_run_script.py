"""What `make run` does before it starts anything."""

from pathlib import Path

import pytest

import run


@pytest.mark.parametrize(
    ("found", "left"), [(0o644, 0o600), (0o666, 0o600), (0o604, 0o600), (0o640, 0o640), (0o600, 0o600)]
)
def test_a_file_of_secrets_that_everyone_may_read_is_kept_to_oneself(
    found: int, left: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ".env"
    file.write_text("CRON_SECRET=x\n")
    file.chmod(found)
    run.keep_to_oneself(file)
    assert file.stat().st_mode & 0o777 == left
    assert capsys.readouterr().out.startswith(".env was readable by every user") == (found != left)


def test_what_is_no_file_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "shared"
    file.write_text("CRON_SECRET=x\n")
    file.chmod(0o644)
    (tmp_path / ".env").symlink_to(file)
    run.keep_to_oneself(tmp_path / ".env")
    assert file.stat().st_mode & 0o777 == 0o644
    run.keep_to_oneself(tmp_path / "none")
