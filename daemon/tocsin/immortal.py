"""Objects without a reference count, so that a forked child does not copy a page for looking at one (PEP 683).

A child shares its parent's memory until it writes, and CPython writes into each object that it so much as passes to a
function: its count. Two thirds of what a child had to itself after a call were such pages. From Python 3.12 on an
object with an immortal count is left alone. Python has no function for this, so the count is written into the memory of
the object, and only where it was seen on objects of our own that this Python keeps it there.

An immortal object is never freed. So this is for the parent, for what stands when it forks: `everything` once, before
the first fork, and `more` for what a later child is forked with. What `more` may leave behind is bounded.
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

# What the low 32 bits of the count say: 3.12 and 3.13 Include/object.h, 3.14 Include/refcount.h. Those of 3.12 and 3.13
# leave only this very number alone when a reference is added, 3.14 this one and greater ones.
_IMMORTAL = {(3, 12): 0xFFFFFFFF, (3, 13): 0xFFFFFFFF, (3, 14): 0xC0000000}
_LEAST = 0x80000000  # from here on it is an immortal's
LEFT_BEHIND = 64 * 1024**2  # bytes of objects that `more` makes immortal in a daemon's life: some thousands of reloads
_REFERENCES = 1000  # that a trial adds to an object and takes away again
_WORD = ctypes.c_uint32
_MEMORY = _WORD * 2**45  # all that a process can have (128 TiB), in words

# What runs, or is about to end: to free it means something.
_PASSING = {
    types.FrameType,
    types.TracebackType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
}

_count: int | None = None  # that makes an object immortal; None: not tried, or this Python is not known
_left = LEFT_BEHIND  # of it


def unusable() -> str:
    """Why objects cannot be made immortal here; "" if they can. Tries it on objects of its own."""
    count = _IMMORTAL.get(sys.version_info[:2])
    if sys.implementation.name != "cpython" or count is None:
        return f"not with {platform.python_implementation()} {platform.python_version()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED") or hasattr(sys, "gettotalrefcount") or hasattr(sys, "getobjects"):
        return "this build of Python counts references in another way"
    if sys.maxsize < 2**32 or sys.byteorder != "little":
        return "not on this processor"

    class Trial:
        """Of our own, like its one instance."""

    if not (_is_left_alone(Trial(), count) and _is_left_alone(Trial, count)):
        return "this Python keeps its counts elsewhere"
    return ""


def _is_left_alone(one: object, count: int) -> bool:
    """Make an object immortal if its count stands where it should, and see whether Python then leaves it alone."""
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
    """Make all objects immortal that there are, and freeze them (gc.freeze); returns how many. 0 where that cannot be
    done here: see `unusable`, which must have been asked before."""
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
    """The same of these objects and all that they refer to, as far as `everything` was done and there is room left:
    what is not made immortal any more is shared until a child looks at it."""
    global _left
    if _count is not None and _left > 0:
        _left -= sum(map(sys.getsizeof, _mark(roots, _count)))


def _mark(roots: Iterable[object], count: int, *, through: bool = False) -> list[object]:
    """Make these objects immortal and what they refer to, to the end; returns which. Goes on behind what is immortal
    already only if `through`: Python makes some of its own so."""
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
