"""Replies of a real cache: nginx with `proxy_cache` between the job and its app."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Call, Endpoint, free_port, sla_checked, until
from tocsin.call.attempts import perform
from tocsin.call.deadline import listen
from tocsin.call.request import Caller
from tocsin.config import Job
from tocsin.ipc.job import Ask, Finished

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
FAR = 10.0**12  # Unix time of the next due instant, when it does not matter
CONF = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    proxy_cache_path cache keys_zone=replies:1m;
    proxy_temp_path proxy; client_body_temp_path body;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    proxy_cache replies;
    proxy_cache_valid 200 10m;
    server {
        listen 127.0.0.1:PORT;
        location / { proxy_pass APP; add_header X-Cache-Status $upstream_cache_status always; }
        location /rfc9211 { proxy_pass APP; add_header Cache-Status "nginx; $hit" always; }
    }
    map $upstream_cache_status $hit { HIT hit; default fwd=miss; }
}
"""


@pytest.fixture
def cache(tmp_path: Path, endpoint: Endpoint) -> Iterator[str]:
    """The URL of an nginx in front of the endpoint."""
    assert Path(NGINX).exists(), "nginx is missing; `make test` installs it"
    port = free_port()
    conf = tmp_path / "nginx.conf"
    conf.write_text(CONF.replace("PORT", str(port)).replace("APP", endpoint.url))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([NGINX, "-p", tmp_path, "-c", conf], stderr=log)

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(answers, "nginx")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def call(make_job: Callable[..., Job], cache: str) -> Callable[..., Finished]:
    listen()

    def call(path: str = "/api", **changes: object) -> Finished:
        job = make_job(url=cache + path, retries=0, **changes)
        return perform(Caller(job), Ask(job.name, 1.0, "6f2a1c9e-0000-5000-8000-000000000000"), FAR, lambda _: False)

    return call


@pytest.mark.parametrize(("path", "field"), [("/api", "X-Cache-Status: HIT"), ("/rfc9211", "Cache-Status: nginx; hit")])
def test_a_job_whose_handler_a_cache_stands_in_for(
    call: Callable[..., Finished], endpoint: Endpoint, path: str, field: str
) -> None:
    assert call(path, method="GET").outcome == "success"
    for _ in range(2):
        finished = call(path, method="GET")
        assert (finished.outcome, finished.status) == ("invalid_response", 200)
        assert finished.detail.startswith(f"the reply came from a cache ({field}), so the handler did not run")
        assert finished.reported == {}
    assert len(endpoint.calls) == 1
    assert endpoint.calls[0].headers["cache-control"] == "no-cache"
    assert call(path, method="GET", expect_cached=True).outcome == "success"
    assert len(endpoint.calls) == 1


def test_the_cures(call: Callable[..., Finished], endpoint: Endpoint) -> None:
    for _ in range(2):
        assert call("/by-post", method="POST").outcome == "success"

    def no_store(_: Call) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = sla_checked(1)
        return status, {**headers, "Cache-Control": "no-store"}, body

    endpoint.answer = no_store
    for _ in range(2):
        assert call("/no-store", method="GET").outcome == "success"
    assert [one.path for one in endpoint.calls] == ["/by-post"] * 2 + ["/no-store"] * 2


def test_an_error_that_was_cached_says_so(call: Callable[..., Finished], endpoint: Endpoint) -> None:
    endpoint.answer = lambda _: (500, {"Cache-Control": "max-age=600"}, b"no database")
    call(method="GET")
    finished = call(method="GET")
    assert finished.outcome == "http_error"
    assert finished.detail.endswith(", from a cache (X-Cache-Status: HIT)")


def test_a_header_of_the_jobs_own_wins(call: Callable[..., Finished], endpoint: Endpoint) -> None:
    call(headers=(("cache-control", "max-age=5"),))
    assert endpoint.calls[0].headers["cache-control"] == "max-age=5"
