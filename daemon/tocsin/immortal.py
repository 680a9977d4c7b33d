"""Objects without a reference count, so that a forked child does not copy a page for looking at one (PEP 683).

A child shares its parent's memory until it writes, and CPython writes the reference count of every object that it
uses, even if it only passes it to a function. After a call, two thirds of the pages that a child did not share were
copied for this reason. Python 3.12 and later do not count references to an object whose count is immortal. Python has
no function that sets such a count, so this module writes it into the object's memory. It first tries that on objects of
its own, to see whether this Python keeps the count there.

Python never frees an immortal object. So only the parent uses this, for objects that exist when it forks: `everything`
once before the first fork, and `more` for what a later child needs. `more` has a limit on the memory that it may waste.
"""

import ctypes
import gc
import platform
import re
import sys
import sysconfig
import types
import weakref
from collections.abc import Iterable

# The low 32 bits of an immortal count: 3.12 and 3.13 Include/object.h, 3.14 Include/refcount.h. When a reference is
# added, 3.12 and 3.13 leave only this number unchanged, and 3.14 also greater ones.
_IMMORTAL = {(3, 12): 0xFFFFFFFF, (3, 13): 0xFFFFFFFF, (3, 14): 0xC0000000}
_LEAST = 0x80000000  # a count from here on is immortal
LEFT_BEHIND = 64 * 1024**2  # bytes of objects that `more` makes immortal in a daemon's life: some thousands of reloads
_REFERENCES = 1000  # references that a trial adds to an object and removes again
_WORD = ctypes.c_uint32
_MEMORY = _WORD * 2**45  # the largest address space of a process (128 TiB), in words

# Objects that run or are about to end. Freeing them has effects, so they must stay mortal.
_PASSING = {
    types.FrameType,
    types.TracebackType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
}

_count: int | None = None  # the count that makes an object immortal; None: not tried yet, or this Python is not known
_left = LEFT_BEHIND  # bytes that `more` may still use


def unusable() -> str:
    """Return why objects cannot be made immortal here, or "" if they can. Tries it on objects of its own."""
    count = _IMMORTAL.get(sys.version_info[:2])
    if sys.implementation.name != "cpython" or count is None:
        return f"not with {platform.python_implementation()} {platform.python_version()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED") or hasattr(sys, "gettotalrefcount") or hasattr(sys, "getobjects"):
        return "this build of Python counts references in another way"
    if sys.maxsize < 2**32 or sys.byteorder != "little":
        return "not on this processor"

    class Trial:
        """A class that only the trial uses, like its one instance."""

    if not (_is_left_alone(Trial(), count) and _is_left_alone(Trial, count)):
        return "this Python keeps its counts elsewhere"
    return ""


def _is_left_alone(one: object, count: int) -> bool:
    """Make an object immortal if its count is where it should be. Returns whether Python then leaves the count
    alone."""
    word, reference = _WORD.from_address(id(one)), weakref.ref(one)
    before = word.value, sys.getrefcount(one)
    many = [one] * _REFERENCES
    if (word.value, sys.getrefcount(one)) != (before[0] + _REFERENCES, before[1] + _REFERENCES):
        return False
    many.clear()
    if (word.value, sys.getrefcount(one)) != before:
        return False
    word.value = count
    many = [one] * _REFERENCES
    grown = word.value
    many.clear()
    says_so = getattr(sys, "_is_immortal", lambda _: True)  # since Python 3.14
    if (grown, word.value, sys.getrefcount(one)) != (count, count, count) or not says_so(one):
        return False
    del one
    return reference() is not None


def everything() -> int:
    """Make all existing objects immortal, and freeze them (gc.freeze). Returns how many, or 0 if this Python is not
    known. Call `unusable` first, and this only if it returns ""."""
    global _count
    _count = _IMMORTAL.get(sys.version_info[:2])
    if _count is None:
        return 0
    gc.unfreeze()
    gc.collect()
    made = len(_mark(gc.get_objects(), _count, through=True))
    gc.freeze()
    return made


def more(*roots: object) -> None:
    """Make these objects immortal, and all objects that they refer to. Does nothing before `everything`, or when the
    limit is reached. Objects that stay mortal are shared until a child uses them."""
    global _left
    if _count is not None and _left > 0:
        _left -= sum(map(sys.getsizeof, _mark(roots, _count)))


def _mark(roots: Iterable[object], count: int, *, through: bool = False) -> list[object]:
    """Make these objects immortal, and all objects that they refer to, directly or not. Returns which. Looks behind
    objects that are immortal already only if `through`: some of Python's own objects are."""
    words = _MEMORY.from_address(0)
    known: dict[int, object] = {}  # by address
    found = list(roots)
    while found:
        fresh = dict(zip(map(id, found), found, strict=True))
        for where in fresh.keys() & known.keys():
            del fresh[where]
        if not through:
            fresh = {where: one for where, one in fresh.items() if words[where // 4] < _LEAST}
        for where in [where for where, one in fresh.items() if type(one) in _PASSING]:
            del fresh[where]
        known |= fresh
        found = gc.get_referents(*fresh.values())
        for one in fresh.values():
            if type(one) is types.CodeType:  # the collector does not look into these
                found += (one.co_consts, one.co_names, one.co_name, one.co_qualname, one.co_filename)
                found += (one.co_linetable, one.co_exceptiontable)
            elif type(one) is re.Pattern:
                found.append(one.pattern)
    made = {where: one for where, one in known.items() if words[where // 4] < _LEAST}
    for where in made:
        words[where // 4] = count
    return list(made.values())
