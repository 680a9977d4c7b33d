"""The status pages as HTML: what they say, and that nothing in them can be anything but text."""

import re
from html.parser import HTMLParser

import pytest

from exporter_rig import HOSTILE, NOON, Asked, job, run, world
from tocsin.exporter.charts import HEIGHT, WIDTH, bars, durations, round_up, shape
from tocsin.exporter.routes import SECURITY_HEADERS
from tocsin.exporter.state import SLOTS_KEPT, Slot
from tocsin.health import LOOKS
from tocsin.ipc.exporter import ConfigLoaded, DaemonStops, LedgerState, ProcessExited, Started, ToExporter
from tocsin.ipc.fates import FAILURES, FATES
from tocsin.ipc.job import Skipped, Sleeping
from tocsin.ipc.types import NOT_RUN_REASONS, OUTCOMES

VOID = {"meta", "link", "input", "img"}


class Elements(HTMLParser):
    """Every element of a page with its attributes; the text between them."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(asked: Asked, path: str) -> Elements:
    reply = asked.ask(path, accept="text/html")
    assert reply.content_type == "text/html; charset=utf-8"
    elements = Elements(reply.body)
    assert not elements.open
    return elements


def hostile() -> Asked:
    status = job(description=HOSTILE, words=HOSTILE, timezone=HOSTILE, method=HOSTILE, url=HOSTILE, fields=(HOSTILE,))
    return Asked(
        *world(status),
        run(outcome="http_error", detail=HOSTILE, run_id=HOSTILE, reported={HOSTILE: 1.0}),
        run(outcome="http_error", detail=HOSTILE, due=NOON + 60),
        Skipped("sla-check", NOON + 120, NOON + 120, 1, "missed", HOSTILE),
        ConfigLoaded("c0ffee", NOON, error=HOSTILE),
        LedgerState(up=False, backlog=0, detail=HOSTILE),
    )


@pytest.mark.parametrize("path", ["/", "/jobs/sla-check", f"/{HOSTILE}"])
def test_hostile_strings_stay_text(path: str) -> None:
    elements = page(hostile(), path)
    scripts = [attributes for tag, attributes in elements.found if tag == "script"]
    assert len(scripts) == 1
    assert "<script>alert(1)</script>" in elements.text
    assert "style" not in {tag for tag, _ in elements.found}
    names = {name for _, attributes in elements.found for name in attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]


@pytest.mark.parametrize("path", ["/", "/jobs/sla-check", "/nope"])
def test_every_asset_is_our_own_and_there(path: str) -> None:
    asked = Asked(*world(job()), run())
    assets = [
        value
        for tag, attributes in page(asked, path).found
        for name, value in attributes.items()
        if name in ("src", "href") and tag != "a" and value
    ]
    assert len(assets) >= 3
    for asset in assets:
        assert asset.startswith("/static/")
        reply = asked.ask(asset.partition("?")[0])
        assert reply.status == 200
        assert "immutable" in reply.headers["Cache-Control"]
        assert b"http://" not in reply.body.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in reply.body


def test_the_policy_allows_nothing_inline_and_nobody_to_frame() -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_overview() -> None:
    asked = Asked(
        *world(job("good"), job("bad"), job("off", enabled=False, state="disabled"), job("held", paused=True)),
        Sleeping("good", NOON + 60),
        run("good", reported={"unassigned": 1234.0}),
        run("bad", "unauthorized", detail="401: the secrets differ"),
    )
    elements = page(asked, "/")
    assert "1 of 4 jobs is failing" in elements.text
    assert "401: the secrets differ" in elements.text
    assert "1,234" in elements.text
    healths = [attributes["data-health"] for tag, attributes in elements.found if "data-health" in attributes]
    assert healths == ["failing", "well", "paused", "disabled"]
    assert ("a", {"href": "/jobs/bad"}) in elements.found


def test_rows_follow_their_jobs() -> None:
    asked = Asked(*world(job("a"), job("b")))
    assert page(asked, "/").text.count("never ran") == 2
    asked.tell(run("a"))
    assert page(asked, "/").text.count("never ran") == 1
    asked.tell(job("b", description="new words"))
    assert "new words" in page(asked, "/").text


def test_empty_daemon() -> None:
    assert "No jobs yet" in page(Asked(*world()), "/").text


def test_a_silent_daemon_is_said_first() -> None:
    asked = Asked(*world(job()), run())
    asked.clock += 40
    text = page(asked, "/").text
    assert "The daemon is silent" in text
    assert "nothing heard of the parent for 40 s" in text
    assert "All is well" not in text
    assert "(1) Tocsin" in text


@pytest.mark.parametrize(
    ("trouble", "headline"),
    [
        (LedgerState(up=False, backlog=1, detail="disk full"), "The ledger does not commit"),
        (ConfigLoaded("c0ffee", NOON, error="line 3: what?"), "The job file was refused"),
    ],
)
def test_trouble_of_the_daemon_is_no_good_news(trouble: ToExporter, headline: str) -> None:
    asked = Asked(*world(job()), Sleeping("sla-check", NOON + 60), run())
    assert "All is well" in page(asked, "/").text
    assert "(1)" not in page(asked, "/").text
    asked.tell(trouble)
    text = page(asked, "/").text
    assert headline in text
    assert "All is well" not in text
    assert "(1) Tocsin" in text  # the title
    asked.tell(LedgerState(up=True, backlog=0), ConfigLoaded("c0ffee", NOON), run(outcome="timeout"))
    assert "(1) Tocsin" in page(asked, "/").text
    assert "1 of 1 job is failing" in page(asked, "/").text


def test_job_page() -> None:
    asked = Asked(
        *world(job(description="Unassigns", last_success=NOON)),
        run(reported={"unassigned": 3.0}),
        run(outcome="timeout", detail="no complete reply within 300 s", duration=300.0, trigger="manual"),
        Skipped("sla-check", NOON + 120, NOON + 300, 4, "overlap", "the previous run was still running"),
    )
    elements = page(asked, "/jobs/sla-check")
    for words in (
        "Unassigns",
        "every minute",
        "no complete reply within 300 s",
        "4 slots, to 2026-11-21 12:05:00 UTC",
        "manual",
        f"run-{NOON:.0f}",
        "4 skipped (overlap), 1 success, 1 timeout",
        "5 min",
    ):
        assert words in elements.text, words
    shapes = [attributes for tag, attributes in elements.found if tag == "circle"]
    assert len(shapes) == 1  # the timeout is a cross


def shown(asked: Asked, path: str) -> list[str]:
    return [str(attributes["data-name"]) for _, attributes in page(asked, path).found if "data-name" in attributes]


def some() -> Asked:
    return Asked(
        *world(
            job("job-10"), job("job-9"), job("bad", description="A & b"), job("off", enabled=False, state="disabled")
        ),
        *[Sleeping(name, NOON + 60) for name in ("job-9", "job-10", "bad")],
        *[run("bad", "timeout"), run("job-10", due=NOON - 60), run("job-9")],
    )


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["bad", "job-9", "job-10", "off"]),  # trouble first, then by name, as people count
        ("?sort=name", ["bad", "job-9", "job-10", "off"]),
        ("?sort=last", ["bad", "job-9", "job-10", "off"]),
        ("?sort=next", ["bad", "job-9", "job-10", "off"]),
        ("?health=failing", ["bad"]),
        ("?health=well", ["job-9", "job-10"]),
        ("?health=stalled", []),
        ("?health=nonsense&sort=nonsense&more=1", ["bad", "job-9", "job-10", "off"]),
        ("?q=JOB-1", ["job-10"]),
        ("?q=timeout", ["bad"]),
        ("?q=a+%26+B", ["bad"]),
        ("?q=ago", []),  # the search reads no times
        ("?q=utc", []),
        ("?q=2026", []),
        ("?q=job&health=failing", []),
        ("?" + "&".join(f"q{n}=x" for n in range(500)), ["bad", "job-9", "job-10", "off"]),
    ],
)
def test_the_address_says_which_jobs_are_shown(query: str, names: list[str]) -> None:
    assert shown(some(), f"/{query}") == names


def test_the_counts_are_links_that_keep_the_rest_of_the_address() -> None:
    elements = page(some(), "/?q=job&sort=name")
    links = [attributes["href"] for tag, attributes in elements.found if tag == "a" and attributes["href"]]
    assert "/?q=job&health=well&sort=name" in links
    assert not [link for link in links if "failing" in link], "no job with that name fails"
    current = [
        attributes["href"] for _, attributes in page(some(), "/?health=well").found if "aria-current" in attributes
    ]
    assert current == ["/?health=well"]


def test_a_filter_that_no_job_fits_says_so() -> None:
    assert "No job matches" in page(some(), "/?q=nonsense").text


def test_a_row_is_drawn_anew_when_its_health_changes_by_time_alone() -> None:
    asked = some()
    assert shown(asked, "/?health=stalled") == []
    asked.now += 60 + 11
    assert shown(asked, "/?health=stalled") == ["bad", "job-9", "job-10"]
    assert "it was due at 2026-11-21T12:01:00Z" in page(asked, "/").text


def test_a_job_that_is_not_there_is_a_page_with_the_nearest_names() -> None:
    asked = Asked(*world(job("sla-check"), job("sla-cheque"), job("cleanup")))
    reply = asked.ask("/jobs/sla-chek", accept="text/html")
    assert (reply.status, reply.content_type) == (404, "text/html; charset=utf-8")
    elements = page(asked, "/jobs/sla-chek")
    assert "Did you mean sla-check or sla-cheque?" in elements.text
    assert ("a", {"href": "/jobs/sla-check"}) in elements.found
    assert "Did you mean" not in page(asked, "/jobs/zzz").text


def test_a_running_job_shows_how_long_and_when_it_is_due_next() -> None:
    asked = Asked(*world(job(schedule="*/5 * * * *")), Sleeping("sla-check", NOON), Started("sla-check", NOON))
    asked.now += 200
    times = [attributes for tag, attributes in page(asked, "/jobs/sla-check").found if tag == "time"]
    assert [one["data-next"] for one in times if "data-next" in one] == [f"{NOON + 300:.3f}"]
    (row,) = [attributes for tag, attributes in page(asked, "/").found if tag == "time" and "data-for" in attributes]
    assert row["data-for"] == f"{NOON:.3f}"
    assert "running since 2026-11-21 12:00:00 UTC" in " ".join(page(asked, "/").text.split())


def test_instants_are_shown_in_the_zone_of_the_job_too() -> None:
    asked = Asked(*world(job(timezone="America/New_York")), Sleeping("sla-check", NOON + 60))
    assert "2026-11-21 07:01:00 America/New_York" in page(asked, "/jobs/sla-check").text
    asked = Asked(*world(job()), Sleeping("sla-check", NOON + 60))
    assert "12:01:00 UTCUTC" not in page(asked, "/jobs/sla-check").text


def test_jobs_that_wait_out_a_drain_have_stopped() -> None:
    asked = Asked(*world(job()), Sleeping("sla-check", NOON + 60), DaemonStops(NOON))
    asked.tell(ProcessExited("job", "sla-check", "clean", "exit code 0"))
    assert "The daemon is stopping" in page(asked, "/").text
    text = page(asked, "/jobs/sla-check").text
    assert "backing off" not in text
    assert "stopped" in text


def test_every_health_has_a_colour_or_is_quiet() -> None:
    css = Asked().ask("/static/page.css").body.decode()
    for health, look in LOOKS.items():
        if look.is_trouble:
            assert re.search(rf"\.health\.{health}\b[^{{]*{{ color:", css), health


def labelled() -> Asked:
    billing = (("team", "billing"), ("tier", "a:b&c"))
    return Asked(*world(job("a", labels=billing), job("b", labels=(("team", "ops"),)), job("c")))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?label=team:billing", ["a"]),
        ("?label=team%3Aops", ["b"]),
        ("?label=tier:a:b%26c", ["a"]),
        ("?label=team:nobody", []),
        ("?label=nonsense", []),
        ("?q=billing", ["a"]),
    ],
)
def test_jobs_are_filtered_by_label(query: str, names: list[str]) -> None:
    assert shown(labelled(), f"/{query}") == names


def test_labels_are_links_on_both_pages() -> None:
    asked = labelled()
    for path in ("/", "/jobs/a"):
        links = [attributes.get("href") for tag, attributes in page(asked, path).found if tag == "a"]
        assert {"/?label=team%3Abilling", "/?label=tier%3Aa%3Ab%26c"} <= set(links), path
    assert shown(asked, "/?label=tier%3Aa%3Ab%26c") == ["a"]
    options = [attributes["value"] for tag, attributes in page(asked, "/").found if tag == "option"]
    assert "team:ops" in options
    assert asked.json("/api/jobs")[1][0]["labels"] == {"team": "billing", "tier": "a:b&c"}


# ---- the pictures


def slot(fate: str, due: float = NOON, duration: float | None = None) -> Slot:
    return Slot(due, due, 1, fate, duration=duration)  # type: ignore[arg-type]


def test_neighbours_with_one_fate_are_one_dashed_line() -> None:
    found = bars([slot("success"), slot("success"), slot("timeout"), slot("success")])
    assert [(one.fate, len(one.slots)) for one in found] == [("success", 2), ("timeout", 1), ("success", 1)]
    assert found[-1].end == WIDTH
    assert found[0].x == (SLOTS_KEPT - 4) * 6
    assert len(bars([slot("success")] * 4, apart=True)) == 4
    assert bars([slot("lost")] * SLOTS_KEPT)[0].x == 0


def test_every_fate_has_a_shape_a_letter_and_a_colour() -> None:
    fates = {*OUTCOMES, *NOT_RUN_REASONS}
    assert set(FATES) == fates
    tall = {fate for fate in FATES if shape(fate)[0] == HEIGHT}
    assert tall == FAILURES
    assert fates - tall == {"success", "cancelled", *NOT_RUN_REASONS}
    assert len({look.letter for look in FATES.values()}) == len(FATES)
    css = Asked().ask("/static/page.css").body.decode()
    for fate in fates:
        assert re.search(rf"\.{fate}\b[^{{]*{{ color:", css), fate


def test_plot() -> None:
    assert durations([slot("missed")]) is None
    plot = durations([slot("success", duration=0.2), slot("missed"), slot("timeout", duration=0.4)])
    assert plot
    assert plot.top == 0.4
    assert [dot.y for dot in plot.dots] == [60.0, 0.0]
    zero = durations([slot("success", duration=0.0)])
    assert zero
    assert zero.dots[0].y == 120


@pytest.mark.parametrize(
    ("value", "top"), [(0.0, 0.001), (0.0011, 0.0015), (0.4, 0.4), (0.41, 0.5), (9.1, 10.0), (300.0, 300.0)]
)
def test_scale(value: float, top: float) -> None:
    assert round_up(value) == pytest.approx(top)
