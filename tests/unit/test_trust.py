"""Which folders may hold the state: the attack is refused, the ordinary box is not."""

import os
import pwd
import stat
import struct
from pathlib import Path

import pytest

from tocsin.parent import trust
from tocsin.parent.trust import unsafe

ME = os.geteuid()
BOB = ME + 4242
TEAM = 54321  # a group of nobody on this machine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "above" / "var").mkdir(parents=True, mode=0o755)
    return tmp_path / "above" / "var"


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750, 0o1755, 0o2755])
def test_a_folder_that_only_its_owner_writes_is_safe(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    folder.parent.chmod(mode)
    assert unsafe(folder, ME) is None


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_folder_that_everyone_may_write_is_not_though_it_be_sticky(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    found = unsafe(folder, ME)
    assert found
    assert found.why == f"{folder} has mode {mode:o}, so every user of this machine may write to it"
    assert found.cure == f"run: chmod 700 {folder}, or name another `state_dir`"


def test_whoever_may_write_above_it_can_replace_it(folder: Path) -> None:
    folder.parent.chmod(0o777)
    found = unsafe(folder, ME)
    assert found
    assert f"may replace {folder} with another folder" in found.why
    assert found.cure == f"run: chmod go-w {folder.parent}"
    assert unsafe(folder / "not" / "there" / "yet", ME)
    folder.parent.chmod(0o1777)
    assert unsafe(folder, ME) is None, "sticky, as /tmp is"


def test_the_folder_of_another_user_is_not_ours(folder: Path) -> None:
    found = unsafe(folder, BOB)
    if ME == 0:
        assert found is None, "root is trusted: a volume that the container engine made"
        os.chown(folder, BOB + 1, -1)
        found = unsafe(folder, BOB)
    assert found
    assert f"the daemon runs as user {BOB}" in found.why
    assert f"chown -R {BOB} {folder}" in found.cure


def test_a_group_counts_when_somebody_else_is_in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.chmod(0o775)
    folder.parent.chmod(0o2775)
    if ME == 0:
        os.chown(folder, -1, TEAM)
        os.chown(folder.parent, -1, TEAM)
    group = folder.stat().st_gid
    me = pwd.getpwuid(ME)
    monkeypatch.setattr(pwd, "getpwall", lambda: [me])
    assert unsafe(folder, ME) is None, "a group of this user's own (umask 002), or one of a container"
    bob = pwd.struct_passwd(("bob", "x", BOB, group, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [me, bob])
    found = unsafe(folder, ME)
    assert found
    assert "(bob) may replace" in found.why
    folder.parent.chmod(0o755)
    found = unsafe(folder, ME)
    assert found
    assert "(bob) may write to it" in found.why


def test_the_group_of_root_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwall", lambda: [pwd.struct_passwd(("bob", "x", BOB, 0, "", "/", ""))])
    assert trust._others_in(0, ME) == []


def test_an_access_list_that_lets_another_write_is_seen(folder: Path) -> None:
    nobody = 0xFFFFFFFF
    entries = [(0x01, 7, nobody), (0x02, 6, BOB), (0x04, 5, nobody), (0x10, 7, nobody), (0x20, 5, nobody)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(folder, "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("the file system of the temporary folder has no access control lists")
    assert stat.S_IMODE(folder.stat().st_mode) & stat.S_IWGRP, "as the mask is shown"
    found = unsafe(folder, ME)
    assert found
    assert "access control list" in found.why


def test_links_are_followed_as_the_kernel_does_and_each_folder_on_the_way_counts(folder: Path, tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    (open_to_all / "second").symlink_to(folder)
    (tmp_path / "first").symlink_to("open/second")
    assert unsafe(tmp_path / "first", ME) is None
    open_to_all.chmod(0o777)
    found = unsafe(tmp_path / "first", ME)
    assert found
    assert found.cure == f"run: chmod go-w {open_to_all}"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        unsafe(tmp_path / "loop", ME)
