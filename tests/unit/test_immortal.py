"""Objects without a reference count. Each test is a process of its own: what it makes immortal stays so."""

import subprocess
import sys
import sysconfig

import pytest

KNOWN = (
    sys.implementation.name == "cpython"
    and sys.version_info[:2] in ((3, 12), (3, 13), (3, 14))
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
    and not hasattr(sys, "gettotalrefcount")
)
needs_immortals = pytest.mark.skipif(not KNOWN, reason="this Python counts the references of every object")

# Looks at each of many objects in a forked child; says how many kilobytes of memory that child then has for itself.
LOOK = """
import gc, os, sys
from tocsin import immortal, linux
many = [f"text {n}" for n in range(200_000)]
if sys.argv[1] == "immortal":
    assert immortal.unusable() == ""
    assert immortal.everything() > 200_000
elif sys.argv[1] == "more":
    few, many = many[:10], []
    assert immortal.unusable() == ""
    immortal.everything()
    many = [f"text {n}" for n in range(200_000)]
    immortal.more(many)
elif sys.argv[1] == "no more":
    assert immortal.unusable() == ""
    immortal.everything()
    immortal._left = 0
    many = [f"text {n}" for n in range(200_000)]
    immortal.more(many)
before = None
read, write = os.pipe()
if os.fork() == 0:
    before = linux.private_memory(os.getpid())
    for one in many:
        pass
    os.write(write, b"%d" % ((linux.private_memory(os.getpid()) - before) // 1024))
    os._exit(0)
os.wait()
print(os.read(read, 100).decode())
"""


def told(code: str, *words: str) -> str:
    """What a process prints that runs this, on its way to a normal end."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


@needs_immortals
@pytest.mark.parametrize("way", ["immortal", "more"])
def test_a_child_that_looks_at_shared_objects_does_not_copy_them(way: str) -> None:
    assert int(told(LOOK, "as they are")) > 5_000, "each of the objects is written to"
    assert int(told(LOOK, way)) < 1_000


@needs_immortals
def test_what_may_be_left_behind_is_bounded() -> None:
    assert int(told(LOOK, "no more")) > 5_000


@needs_immortals
def test_the_bound_counts_what_was_made_immortal() -> None:
    code = """
from tocsin import immortal
immortal.more([bytes(1000)])
assert immortal._left == immortal.LEFT_BEHIND, "nothing is done before `everything`"
assert immortal.unusable() == ""
immortal.everything()
kept = [bytes(100_000)]
immortal.more(kept)
immortal.more(kept)
print(immortal.LEFT_BEHIND - immortal._left)
"""
    assert 100_000 < int(told(code)) < 102_000


@needs_immortals
def test_what_runs_still_ends_and_what_comes_later_is_still_freed() -> None:
    code = """
import weakref
from tocsin import immortal

def running():
    try:
        yield
    finally:
        print("ended")

class Later:
    pass

going_on = running()
next(going_on)
assert immortal.unusable() == ""
immortal.everything()
del going_on
later = Later()
seen = weakref.ref(later)
del later
assert seen() is None
"""
    assert told(code) == "ended"


@needs_immortals
def test_code_and_its_constants_are_reached() -> None:
    code = """
import sys
from tocsin import immortal

def function():
    return ("a constant", b"\\1" * 3)

assert immortal.unusable() == ""
immortal.everything()
code = function.__code__
for one in (function, code, code.co_consts, code.co_consts[1], code.co_names, code.co_linetable, immortal._WORD):
    print(sys.getrefcount(one) >= 2**31)
"""
    assert set(told(code).split()) == {"True"}


@needs_immortals
@pytest.mark.parametrize("change", ["{sys.version_info[:2]: 1234}", "{sys.version_info[:2]: 0x7FFFFFFF}"])
def test_a_python_that_does_not_leave_the_count_alone_is_noticed(change: str) -> None:
    code = f"import sys\nfrom tocsin import immortal\nimmortal._IMMORTAL = {change}\nprint(immortal.unusable())"
    assert told(code) == "this Python keeps its counts elsewhere"


@needs_immortals
def test_a_count_that_stands_elsewhere_is_not_written_to() -> None:
    code = """
import ctypes
from tocsin import immortal

class Beside:  # as if an object began with something else
    def from_address(self, where):
        return ctypes.c_uint32.from_address(where + 4)

immortal._WORD = Beside()
print(immortal.unusable())
"""
    assert told(code) == "this Python keeps its counts elsewhere"


def test_an_unknown_python_is_left_as_it_is() -> None:
    code = """
from tocsin import immortal
immortal._IMMORTAL = {}
print(immortal.unusable(), immortal.everything())
immortal.more([[]])
"""
    assert told(code).startswith("not with CPython 3.")
    assert told(code).endswith(" 0")


@pytest.mark.skipif(KNOWN, reason="this Python can do it")
def test_where_it_cannot_be_done_the_reason_is_said() -> None:
    assert told("from tocsin import immortal\nprint(immortal.unusable())") != ""
