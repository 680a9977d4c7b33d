"""The target's certificates change under a running daemon: a renewal, a hook that fails, a folder that is closed."""

import os
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from harness import Daemon, until
from hostile_server import OK, HostileServer, Peer

JOBS = 'ca_file = "tls/ca.pem"\n[jobs.daily]\nschedule = "0 0 * * *"\npath = "/x"\nretries = 0\n'


class Site:
    """A target with TLS, whose authority the daemon's file names."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tls" / "ca.pem"
        self.file.parent.mkdir()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority = trustme.CA()
        self.serve_as(self.authority)
        self.name(self.authority)

    def serve_as(self, authority: trustme.CA, until: datetime | None = None) -> None:
        authority.issue_cert("127.0.0.1", not_after=until).configure_cert(self.context)

    def name(self, authority: trustme.CA) -> None:
        authority.cert_pem.write_to_path(str(self.file))


def answer(peer: Peer) -> None:
    peer.hear()
    peer.say(OK)


@pytest.fixture
def site(daemon: Daemon) -> Iterator[Site]:
    one = Site(daemon.folder)
    with HostileServer(answer, one.context) as server:
        daemon.environment["API_BASE_URL"] = f"https://127.0.0.1:{server.port}"
        daemon.write(JOBS)
        daemon.start()
        until(lambda: fires(daemon), "a success")
        yield one
        assert daemon.stop() == 0


def fires(daemon: Daemon) -> bool:
    return daemon.run("fire", "daily").returncode == 0


def test_a_reload_takes_over_a_renewed_authority(site: Site, daemon: Daemon) -> None:
    child = daemon.child("job daily")
    assert daemon.run("reload").returncode == 0
    renewed = trustme.CA()
    site.serve_as(renewed)
    site.name(renewed)
    assert not fires(daemon)
    assert daemon.child("job daily") == child, "a file that did not change keeps its process"
    assert daemon.run("reload").returncode == 0
    assert daemon.child("job daily", other_than=child)
    assert fires(daemon)


@pytest.mark.parametrize("broken", ["gone", "garbage", "closed"])
def test_a_file_that_cannot_be_used_is_refused_and_ends_nothing(site: Site, daemon: Daemon, broken: str) -> None:
    if broken == "gone":
        site.file.unlink()
    elif broken == "garbage":
        site.file.write_text("-----BEGIN")
    else:
        site.file.parent.rename(daemon.folder / "elsewhere")
        (daemon.folder / "tls").symlink_to("tls")  # for root too: no way into the folder
    refused = daemon.run("reload")
    assert refused.returncode == 2
    assert f"[target] ca_file: cannot use {site.file}" in refused.stderr
    pid = daemon.pid
    daemon.child("job daily", other_than=daemon.kill("job daily"))
    assert fires(daemon), "with what was right"
    os.kill(pid, 0)


def test_the_metrics_tell_when_the_certificate_of_the_last_call_expires(site: Site, daemon: Daemon) -> None:
    for days in (5, 90):
        end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
        site.serve_as(site.authority, end)
        assert fires(daemon)
        until(
            lambda end=end: (  # type: ignore[misc]
                daemon.metric("tocsin_job_certificate_expiry_timestamp_seconds", job_name="daily") == end.timestamp()
            ),
            "the end of the new certificate",
        )
