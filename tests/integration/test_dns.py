"""A name server that never answers: Python cannot be interrupted inside getaddrinfo, so the parent ends the call."""

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from harness import STARTED, TOCSIN, Daemon, until

NAME_SERVER = "127.0.0.2"


@pytest.fixture
def black_hole() -> Iterator[socket.socket]:
    if os.geteuid() != 0:
        pytest.skip("only root may listen on port 53 and give a process a resolv.conf of its own")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((NAME_SERVER, 53))
        yield server


def test_a_name_server_that_never_answers(daemon: Daemon, black_hole: socket.socket) -> None:
    daemon.write('[jobs.lost]\nevery = "1s"\nurl = "https://black-hole.example/x"\ntimeout = "1s"\nretries = 0\n')
    resolv = daemon.folder / "resolv.conf"
    resolv.write_text(f"nameserver {NAME_SERVER}\noptions timeout:30 attempts:5\n")
    script = 'mount --bind "$1" /etc/resolv.conf && exec "$0" run'
    with daemon.log_file.open("ab") as log:
        daemon.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, TOCSIN, resolv],
            cwd=daemon.folder,
            env=daemon.environment,
            stdout=log,
            stderr=log,
        )
    STARTED.add(daemon)
    black_hole.settimeout(30)
    assert b"black-hole" in black_hole.recv(512)
    first = daemon.child("job lost")
    rows = until(lambda: [row for row in daemon.history() if row["outcome"]], "the run's end")
    assert rows[0]["outcome"] == "timeout", rows[0]
    assert "could not be interrupted" in rows[0]["detail"]
    assert daemon.child("job lost", other_than=first)
    until(lambda: len([row for row in daemon.history() if row["outcome"]]) >= 2, "the next run's end")
    assert daemon.metric("tocsin_job_process_exits_total", job_name="lost", reason="deadline")
    dues = [row["due"] for row in daemon.history() if row["outcome"]]
    assert len(dues) == len(set(dues))  # reported once
