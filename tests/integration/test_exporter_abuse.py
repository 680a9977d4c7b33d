"""Clients that dawdle, do not read, say nothing or talk nonsense: scrapes go on and memory stays bounded."""

import random
import socket
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest

from exporter_rig import MEBIBYTE, OTHER_DESCRIPTORS, asleep, crowd, exporter, is_gone, job, scrape
from harness import until
from tocsin.exporter.server import CONNECTIONS, Connection


def test_200_clients_that_drip(tmp_path: Path) -> None:
    with exporter(tmp_path / "log", *asleep(job())) as one:
        until(lambda: one.ask("/readyz")[0] == 200, "the job")
        before = one.memory()
        with crowd(one, 200, b"GET /metrics HTTP/1.1\r\nX-Drip: ") as clients:
            for _ in range(20):  # a byte a round, and whoever was shed dials again
                for client in clients:
                    with suppress(OSError):
                        client.send(b"x")
                scrape(one)
            assert one.descriptors() <= CONNECTIONS + OTHER_DESCRIPTORS
        assert one.memory() - before < 32 * MEBIBYTE


def test_a_long_reply_survives_a_crowd_that_keeps_dialling(tmp_path: Path) -> None:
    jobs = [job(f"job-{number}") for number in range(300)]
    with exporter(tmp_path / "log", *asleep(*jobs)) as one:
        until(lambda: one.ask("/readyz")[0] == 200, "the jobs")
        with crowd(one, 1, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", buffer=4096) as [scraper]:
            scraper.recv(1)
            with crowd(one, 3 * CONNECTIONS, b"GET /metrics HTTP/1.1\r\nX-Drip: "):
                reply = bytearray(b"H")
                while piece := scraper.recv(MEBIBYTE):
                    reply += piece
        head, _, body = bytes(reply).partition(b"\r\n\r\n")
        assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"


def test_50_clients_that_ask_and_never_read(tmp_path: Path) -> None:
    jobs = [job(f"job-{number}") for number in range(300)]
    with exporter(tmp_path / "log", *asleep(*jobs)) as one:
        until(lambda: one.ask("/readyz")[0] == 200, "the jobs")
        size = len(one.ask("/metrics")[2])
        assert size > MEBIBYTE
        before = one.memory()
        with crowd(one, 50, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", buffer=4096) as clients:
            for _ in range(5):
                scrape(one)
            assert one.memory() - before < 48 * MEBIBYTE  # far from a copy of the reply for each of them
            assert clients
        scrape(one)


def test_300_idle_connections_with_256_descriptors(tmp_path: Path) -> None:
    with exporter(tmp_path / "log", *asleep(job()), files=256) as one:
        until(lambda: one.ask("/readyz")[0] == 200, "the job")
        with crowd(one, 300) as clients:
            for _ in range(5):
                scrape(one)
            assert one.descriptors() <= CONNECTIONS + OTHER_DESCRIPTORS
            until(lambda: sum(map(is_gone, clients)) >= 300 - CONNECTIONS, "the oldest to be shed")
        assert "cannot accept connections" not in one.log.read_text()


def test_more_clients_than_descriptors(tmp_path: Path) -> None:
    with exporter(tmp_path / "log", *asleep(job()), files=40) as one:
        until(lambda: one.ask("/readyz")[0] == 200, "the job")
        with crowd(one, 100):
            until(lambda: "cannot accept connections" in one.log.read_text(), "the descriptors to run out")
        until(lambda: one.answers(), "the exporter to answer again")
        scrape(one)


def test_a_reply_whose_end_nobody_reads_is_given_up(tmp_path: Path) -> None:
    """All of it is handed over, and the connection closed but for what the client does not take."""
    jobs = [job(f"job-{number}") for number in range(54)]
    with exporter(tmp_path / "log", *asleep(*jobs)) as one:
        until(lambda: one.ask("/readyz")[0] == 200, "the jobs")
        assert (
            256 * 1024 < len(one.ask("/metrics")[2]) < 320 * 1024
        )  # more than the kernel takes, less than it waits for
        with crowd(one, 20, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", buffer=4096):
            until(lambda: one.descriptors() > 20, "the replies to be stuck")
            until(lambda: one.descriptors() <= OTHER_DESCRIPTORS - 10, "the connections to be given up")
        assert "error" not in one.log.read_text(), one.log.read_text()


@pytest.mark.parametrize("gone", [True, False])
def test_a_transport_that_is_gone_is_not_aborted(gone: bool) -> None:
    """asyncio's raises there when it was closed with the end of a reply still in it."""
    client, transport = socket.socket(), Mock()
    with client:
        if gone:
            client.close()
        Connection(client, Mock(), transport).drop()
    assert transport.abort.call_count == (0 if gone else 1)


def test_63_clients_with_many_long_headers(tmp_path: Path) -> None:
    headers = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 16000) for number in range(60))
    with exporter(tmp_path / "log", *asleep(job())) as one:
        until(lambda: one.ask("/readyz")[0] == 200, "the job")
        before = one.memory()
        with crowd(one, CONNECTIONS - 1, b"GET /metrics HTTP/1.1\r\n" + headers) as clients:
            scrape(one)
            until(lambda: all(map(is_gone, clients)), "the connections to be given up")
        assert one.memory() - before < 32 * MEBIBYTE


def test_a_silent_connection_is_given_up(tmp_path: Path) -> None:
    with exporter(tmp_path / "log") as one, crowd(one, 1) as [client]:
        until(lambda: is_gone(client), "the connection to be given up")


@pytest.mark.parametrize(
    "said",
    [
        b"GET /" + b"a" * MEBIBYTE + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * MEBIBYTE + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100_000 + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n" + b"a" * MEBIBYTE,
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + b"a" * MEBIBYTE,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + b"a" * MEBIBYTE,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10_000,
        b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET //[ HTTP/1.1\r\n\r\n",
        b"GET /%ff%00%c0%af?%zz HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512),
        b"\r\n" * 100_000,
        bytes(range(256)) * 4096,
        random.Random(1).randbytes(MEBIBYTE),
        b"",
    ],
    ids=lambda said: repr(said[:24]),
)
def test_nonsense(said: bytes, tmp_path: Path) -> None:
    with exporter(tmp_path / "log", *asleep(job())) as one:
        until(lambda: one.ask("/readyz")[0] == 200, "the job")
        before = one.memory()
        with crowd(one, 1) as [client]:
            with suppress(OSError):  # it may hang up in the middle
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
            scrape(one)
            until(lambda: is_gone(client), "the connection to end") if not said else None
        assert one.memory() - before < 16 * MEBIBYTE
        assert "error" not in one.log.read_text(), one.log.read_text()
