"""Files that somebody else made: what is no regular file is refused, in words, before anyone waits."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tocsin import files

MAKE: dict[str, Callable[[Path], object]] = {
    "it is a pipe, which can be read only once": os.mkfifo,
    "it is a folder": Path.mkdir,
    "it is a device": lambda file: file.symlink_to("/dev/zero"),
    "it is a socket": lambda file: os.mknod(file, stat.S_IFSOCK | 0o600),
    "it is larger than 100 bytes, too much for a test": lambda file: file.write_bytes(b"x" * 101),
    "Too many levels of symbolic links": lambda file: file.symlink_to(file),
    "No such file or directory": lambda file: file,
}


@pytest.mark.parametrize("why", MAKE)
def test_what_is_no_file_is_refused_in_words(tmp_path: Path, why: str) -> None:
    MAKE[why](tmp_path / "it")
    with pytest.raises(OSError, match=why):
        files.read(tmp_path / "it", 100, "a test")


def test_a_file_is_read_whole_through_links_and_up_to_the_bound(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to(tmp_path / "it")
    assert files.read(tmp_path / "link", 100, "a test") == b"x" * 100
    assert files.read(Path("/proc/self/stat"), 100_000, "a test"), "which says that its size is 0"


def test_a_pipe_that_took_the_place_of_a_file_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "it"
    file.write_bytes(b"x")
    really = os.open

    def swapped(*words: object) -> int:
        file.unlink()
        os.mkfifo(file)
        return really(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(OSError, match="it is a pipe"):
        files.read(file, 100, "a test")


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (tmp_path / "it").write_bytes(b"x" * 101)
    with pytest.raises(OSError, match="larger"):
        files.read(tmp_path / "it", 100, "a test")
    assert os.listdir("/proc/self/fd") == before
