"""The lock files are complete, so that installing them resolves nothing, and every place installs them that way."""

from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dist
from locks import HEROKU, LOCKS, ROOT, Install, installs, version

PLACES = installs()


def test_every_place_is_found() -> None:
    assert {one.place for one in PLACES} == {
        *("Makefile", "Dockerfile", "docs/deploy.md", "docs/releasing.md", str(HEROKU.relative_to(ROOT)))
    }


@pytest.mark.parametrize("one", [one for one in PLACES if one.place != str(HEROKU.relative_to(ROOT))], ids=str)
def test_a_lock_is_installed_by_its_hashes_and_without_resolving(one: Install) -> None:
    assert {"--require-hashes", "--no-deps"} <= set(one.options)


@pytest.mark.parametrize("place", sorted({one.place for one in PLACES} - {str(HEROKU.relative_to(ROOT))}))
def test_what_was_installed_is_checked(place: str) -> None:
    text = (ROOT / place).read_text()
    assert text.rindex("--require-hashes") < max(text.rfind("pip check"), text.rfind("$(PIP) check"))


def test_heroku_checks_what_its_buildpack_installed() -> None:
    assert "python -m pip check" in (HEROKU.parent / "bin" / "post_compile").read_text()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_all_that_its_packages_require_with_their_extras(lock: str) -> None:
    """An extra that the lock leaves out (coverage for coverage[toml]) makes pip look for another version of it."""
    locked = {canonicalize_name(one.name): one for one in dist.locked(lock)}
    for name, one in locked.items():
        for text in metadata.distribution(name).requires or ():
            wanted = Requirement(text)
            if not any(
                wanted.marker is None or wanted.marker.evaluate({"extra": extra}) for extra in ["", *one.extras]
            ):
                continue
            found = locked[canonicalize_name(wanted.name)]
            assert version(found) in wanted.specifier, f"{name} requires {text}"
            assert wanted.extras <= found.extras, f"{name} requires {text}"
