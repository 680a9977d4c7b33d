"""Signs of life, as each service is to be asked."""

import pytest

from tocsin.config.notify import Style
from tocsin.notifier.signs import Sign, refused, sign, style_of

HC = "https://hc-ping.com/9e4c0b1a-7f3d-4c54-b4c1-2f3b9a5f5b1d"
OWN_HC = "https://hc.example.com/ping/9e4c0b1a-7f3d-4c54-b4c1-2f3b9a5f5b1d"
KUMA = "https://kuma.example.com/api/push/AbCdEf?status=up&msg=OK&ping="
BETTER = "https://uptime.betterstack.com/api/v1/heartbeat/AbCdEf"
PLAIN = "https://example.com/alive?key=1"
RUN = "0fd17342-3d7e-5c07-92a0-aba4c1990ee5"


@pytest.mark.parametrize(
    ("url", "style"),
    [
        (HC, "healthchecks"), (OWN_HC, "healthchecks"), (KUMA, "uptime-kuma"), (BETTER, "betterstack"),
        (PLAIN, "plain"),
    ],
)  # fmt: skip
def test_the_service_shows_in_the_address_unless_it_is_named(url: str, style: Style) -> None:
    assert style_of(url, "auto") == style
    assert style_of(url, "plain") == "plain"


def test_healthchecks_hears_of_start_end_and_failure_with_the_run() -> None:
    assert sign(HC, "auto", "start", run_id=RUN) == Sign("POST", f"{HC}/start?rid={RUN}")
    assert sign(HC, "auto", "success", "success", run_id=RUN, duration=1.5) == Sign(
        "POST", f"{HC}?rid={RUN}", "success\nduration: 1.500 s"
    )
    assert sign(OWN_HC + "/", "auto", "fail", "500: boom", run_id=RUN) == Sign(
        "POST", f"{OWN_HC}/fail?rid={RUN}", "500: boom"
    )
    assert sign(HC + "?create=1", "auto", "success") == Sign("POST", f"{HC}?create=1")


def test_uptime_kuma_hears_up_and_down_with_the_duration() -> None:
    base = "https://kuma.example.com/api/push/AbCdEf"
    assert sign(KUMA, "auto", "success", duration=0.25) == Sign("GET", f"{base}?status=up&msg=OK&ping=250")
    assert sign(KUMA, "auto", "fail", "it & that") == Sign("GET", f"{base}?status=down&msg=it+%26+that&ping=")
    assert sign(KUMA, "auto", "start") is None


def test_better_stack_hears_of_success_and_failure() -> None:
    assert sign(BETTER, "auto", "success", "success") == Sign("GET", BETTER)
    assert sign(BETTER, "auto", "fail", "500: boom") == Sign("POST", f"{BETTER}/fail", "500: boom")
    assert sign(BETTER, "auto", "start") is None


def test_others_hear_of_success_alone() -> None:
    assert sign(PLAIN, "auto", "success", "success") == Sign("GET", PLAIN)
    assert sign(PLAIN, "auto", "fail", "x") is None
    assert sign(PLAIN, "auto", "start") is None


def test_an_answer_that_says_no_with_a_status_of_success() -> None:
    assert refused("healthchecks", "OK (not found)")
    assert refused("uptime-kuma", '{"ok": false, "msg": "Monitor not found or not active."}')
    assert not refused("healthchecks", "OK")
    assert not refused("uptime-kuma", '{"ok":true}')
    assert not refused("plain", "OK (not found)")
