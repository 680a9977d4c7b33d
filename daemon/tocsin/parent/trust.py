"""Checks that no other user can write to a folder.

Whoever can write to the state folder can plant a link, a ledger or a control socket there. Whoever can write to a
folder above it can replace it. root is trusted, and so is a group that has no other members.
"""

import contextlib
import grp
import os
import pwd
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

_ACL = "system.posix_acl_access"  # acl(5): a version, then the tag, permissions and id of each entry
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_NAMED = (0x02, 0x08)  # a user or group other than the owner's
_LINKS = 40  # links to follow at most, as in the kernel


@dataclass(frozen=True, slots=True)
class Unsafe:
    """Why a folder cannot be trusted, and what to do about it."""

    why: str
    cure: str

    def __str__(self) -> str:
        return f"{self.why}; {self.cure}"


def unsafe(folder: Path, user: int) -> Unsafe | None:
    """Return why a daemon of this user must not keep its state in the folder, or None. The folder may not exist yet.
    Raises OSError when it may not be read."""
    for place in _way_to(folder.absolute()):
        try:
            status = os.stat(place)
        except FileNotFoundError:
            break
        if who := _others_who_write(place, status, user):
            return Unsafe(f"{who} may replace {folder} with another folder", f"run: chmod go-w {place}")
    try:
        status = os.stat(folder)
    except FileNotFoundError:
        return None
    if status.st_uid not in (user, 0):
        why = f"{folder} belongs to {_user(status.st_uid)}, and the daemon runs as {_user(user)}"
        return Unsafe(why, f"run: chown -R {_user(user, plain=True)} {folder}, or name another `state_dir`")
    if who := _others_who_write(folder, status, user, sticky_helps=False):
        return Unsafe(f"{who} may write to it", f"run: chmod 700 {folder}, or name another `state_dir`")
    return None


def _way_to(folder: Path) -> list[Path]:
    """The folders above this one, and those above each link on the way."""
    todo, here, way, links = list(folder.parts[1:]), Path("/"), [], 0
    while todo:
        part = todo.pop(0)
        if part == "..":
            here = here.parent
            continue
        way.append(here)
        there = here / part
        if there.is_symlink() and (links := links + 1) <= _LINKS:
            target = there.readlink()
            todo = [*target.parts[target.is_absolute() :], *todo]
            here = Path("/") if target.is_absolute() else here
        else:
            here = there
    return list(dict.fromkeys(way))


def _others_who_write(place: Path, status: os.stat_result, user: int, *, sticky_helps: bool = True) -> str:
    """Say who else than the user and root may write there, or "". With `sticky_helps`, a sticky folder is safe,
    because others cannot replace its entries."""
    if sticky_helps and status.st_mode & stat.S_ISVTX:
        return ""
    mode = f"{stat.S_IMODE(status.st_mode):o}"
    if status.st_mode & stat.S_IWOTH:
        return f"{place} has mode {mode}, so every user of this machine"
    if not status.st_mode & stat.S_IWGRP:
        return ""
    if _acl_lets_others_write(place):
        return f"{place} has an access control list (getfacl shows it), by which another user"
    if others := _others_in(status.st_gid, user):
        names = ", ".join(others[:3]) + (" …" if len(others) > 3 else "")
        return f"{place} has mode {mode}, so its group {_group(status.st_gid)} ({names})"
    return ""


def _others_in(group: int, user: int) -> list[str]:
    """The known members of the group, without the user and root."""
    if group == 0:
        return []
    names = {one.pw_name for one in pwd.getpwall() if one.pw_gid == group}
    with contextlib.suppress(KeyError):  # the group has no name, as in a container
        names |= set(grp.getgrgid(group).gr_mem)
    trusted = {one.pw_name for one in pwd.getpwall() if one.pw_uid in (user, 0)}
    return sorted(names - trusted)


def _acl_lets_others_write(place: Path) -> bool:
    try:
        acl = os.getxattr(place, _ACL)
    except OSError:  # it has no list, or its file system has none
        return False
    entries = _ACL_ENTRY.iter_unpack(acl[4:])
    return any(tag in _ACL_NAMED and permissions & 2 for tag, permissions, _ in entries)


def _user(number: int, *, plain: bool = False) -> str:
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number) if plain else f"user {number}"
    return name if plain else f"user {name}"


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
