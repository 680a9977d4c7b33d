"""What a schedule may say, what it means, and how the rest is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.schedule import Schedule, ScheduleError

FIVE = "use five (minute hour day-of-month month day-of-week) or six, second first"
NICKNAMES = "@hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or '@every 90s'"
LOW_TO_HIGH = "a range goes from low to high: use"
HINT = "; for an interval that does not fit, use '@every 90m'"

SAME = [
    ("5/15 * * * *", "5,20,35,50 * * * *"),
    ("59/15 * * * *", "59 * * * *"),
    ("0-30/10 * * * *", "0,10,20,30 * * * *"),
    ("1-5,7,9-10 * * * *", "1,2,3,4,5,7,9,10 * * * *"),
    ("5,5,05 * * * *", "5 * * * *"),
    ("*/60 * * * *", "*/60,0 * * * *"),
    ("* * * * */1", "* * * * *"),
    ("0 0 * * sun", "0 0 * * 0"),
    ("0 0 * * 7", "0 0 * * SUN"),
    ("0 0 * * 1-7", "0 0 * * 0-6"),
    ("0 0 * * 5-7", "0 0 * * 0,5,6"),
    ("0 0 * * 7/2", "0 0 * * SUN"),
    ("0 0 * * 1/2", "0 0 * * MON,WED,FRI"),
    ("0 0 * * Mon-fRI", "0 0 * * 1-5"),
    ("0 0 * jan,Jul *", "0 0 * 1,7 *"),
    ("0 0 * OCT-12 *", "0 0 * 10,11,12 *"),
    ("0 0 ? * ?", "0 0 * * *"),
    ("0 0 1 * ?", "0 0 1 * *"),
    ("0 0 * * 5L", "0 0 * * fril"),
    ("0 0 * * 7L,0#1", "0 0 * * SUN#1,SUNL"),
    ("0 0 L,1 * *", "0 0 1,l * *"),
    ("0 0 1-31,L * *", "0 0 1-31 * *"),
    ("0 0 LW * *", "0 0 lw * ?"),
    ("0 0 28W * *", "0 0 28w * ?"),
    ("0 0 1-31 * MON", "0 0 5 * 0-6"),  # neither starts with a star: either is enough, and one is always so
    ("0 0 31 APR MON", "0 0 * APR MON"),  # a 31 April adds nothing to the Mondays
    ("0 30 2 * * *", "30 2 * * *"),
    ("@hourly", "0 * * * *"),
    ("@Daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@ANNUALLY", "0 0 1 1 *"),
    ("@every 90s", "@every 1m30s"),
    ("@EVERY 1H30M", "@every  5400s"),
    ("@every 1d", "@every 24h"),
    ("@every 366d", "@every 31622400s"),
    ("\t0  0 * *\t* ", "0 0 * * *"),
]

DIFFERENT = [
    ("0 0 * * *", "0 0 0-23 * * *"),
    ("0 0 * * *", "0 0 1 * *"),
    ("0 0-23 * * *", "0 * * * *"),  # the same hours, but the first is fixed
    ("0 0 */2 * MON", "0 0 1-31/2 * MON"),  # the same days, but the first wants both
    ("@hourly", "@every 1h"),
    ("0 0 * * FRI#4", "0 0 * * FRIL"),
]

REFUSED = [
    ("", f"it is empty: {FIVE}"),
    ("   ", f"it is empty: {FIVE}"),
    ("5", f"it has 1 field: {FIVE}"),
    ("* * * *", f"it has 4 fields: {FIVE}"),
    ("0 0 0 * * * 2026", f"it has 7 fields: {FIVE}"),
    ("3-3 * * * *", f"minute '3-3': {LOW_TO_HIGH} 3"),
    ("* * * * SUN-SUN", f"day-of-week 'SUN-SUN': {LOW_TO_HIGH} SUN"),
    ("* * * * 7-7", f"day-of-week '7-7': {LOW_TO_HIGH} 7"),
    ("0 22-2 * * *", f"hour '22-2': {LOW_TO_HIGH} 22-23,0-2"),
    ("0 23-0 * * *", f"hour '23-0': {LOW_TO_HIGH} 23,0"),
    ("0 22-2/2 * * *", f"hour '22-2/2': {LOW_TO_HIGH} 22-23,0-2"),
    ("0 0 * NOV-FEB *", f"month 'NOV-FEB': {LOW_TO_HIGH} 11-12,1-2"),
    ("0 0 * * FRI-SUN", f"day-of-week 'FRI-SUN': {LOW_TO_HIGH} 5-7"),
    ("0 0 * * 7-2", f"day-of-week '7-2': {LOW_TO_HIGH} 0-2"),
    ("60 * * * *", "minute '60': use 0 to 59"),
    ("-1 * * * *", "minute '-1': a number is missing (0 to 59)"),
    ("+1 * * * *", "minute '+1': use 0 to 59"),
    ("1.5 * * * *", "minute '1.5': use 0 to 59"),
    ("005 * * * *", "minute '005': use 0 to 59"),
    ("0 24 * * *", "hour '24': use 0 to 23"),
    ("0 0 0 * *", "day-of-month '0': use 1 to 31"),
    ("0 0 32 * *", "day-of-month '32': use 1 to 31"),
    ("0 0 * 0 *", "month '0': use 1 to 12 or JAN to DEC"),
    ("0 0 * 13 *", "month '13': use 1 to 12 or JAN to DEC"),
    ("0 0 * JANUARY *", "month 'JANUARY': use 1 to 12 or JAN to DEC"),
    ("0 0 * * 8", "day-of-week '8': use 0 to 7 or SUN to SAT"),
    ("0 0 * * JAN", "day-of-week 'JAN': use 0 to 7 or SUN to SAT"),
    ("MON * * * *", "minute 'MON': use 0 to 59"),
    ("1, * * * *", "minute '': a number is missing (0 to 59)"),
    ("1,,2 * * * *", "minute '': a number is missing (0 to 59)"),
    ("1- * * * *", "minute '1-': a number is missing (0 to 59)"),
    ("1-2-3 * * * *", "minute '1-2-3': use 0 to 59"),
    ("*,5 * * * *", "minute '*,5': '*' already means every minute, without a list"),
    ("*5 * * * *", "minute '*5': use 0 to 59"),
    ("*-5 * * * *", "minute '*-5': use 0 to 59"),
    ("*/0 * * * *", "minute '*/0': a step is a number from 1 to 60"),
    ("*/ * * * *", "minute '*/': a step is a number from 1 to 60"),
    ("*/-5 * * * *", "minute '*/-5': a step is a number from 1 to 60"),
    ("1/2/3 * * * *", "minute '1/2/3': a step is a number from 1 to 60"),
    ("*/90 * * * *", f"minute '*/90': a step is a number from 1 to 60{HINT}"),
    ("0 */48 * * *", f"hour '*/48': a step is a number from 1 to 24{HINT}"),
    ("0 0 */32 * *", f"day-of-month '*/32': a step is a number from 1 to 31{HINT}"),
    ("0 0 * */13 *", f"month '*/13': a step is a number from 1 to 12{HINT}"),
    ("0 0 * * */8", f"day-of-week '*/8': a step is a number from 1 to 7{HINT}"),
    ("R * * * *", "minute 'R': hashed and random values are not supported: use 0 to 59"),
    ("H * * * *", "minute 'H': hashed and random values are not supported: use 0 to 59"),
    ("H/15 * * * *", "minute 'H/15': hashed and random values are not supported: use 0 to 59"),
    ("0 r(1-5) * * *", "hour 'R(1-5)': hashed and random values are not supported: use 0 to 23"),
    ("? * * * *", "minute '?': '?' must be the whole field, and only a day field: use '*'"),
    ("0 0 ?/2 * *", "day-of-month '?/2': '?' must be the whole field, and only a day field: use '*'"),
    ("0 0 30 2 *", "it would never fire: no month of '2' has day-of-month '30'"),
    ("0 0 30,31 FEB *", "it would never fire: no month of 'FEB' has day-of-month '30,31'"),
    ("0 0 31 4,6,9,11 *", "it would never fire: no month of '4,6,9,11' has day-of-month '31'"),
    ("0 0 31 4 */2", "it would never fire: no month of '4' has day-of-month '31'"),
    ("0 0 L-3 * *", "day-of-month 'L-3': L is the last day, alone or in a list: L or 1,15,L"),
    ("0 0 5-L * *", "day-of-month '5-L': L is the last day, alone or in a list: L or 1,15,L"),
    ("0 0 0W * *", "day-of-month '0W': use 1 to 31"),
    ("0 0 W * *", "day-of-month 'W': a number is missing (1 to 31)"),
    ("0 0 29W * *", "day-of-month '29W': not in every month; for the last Monday to Friday use LW"),
    ("0 0 W15 * *", "day-of-month 'W15': W must follow a single day, alone in its field: 15W or LW"),
    ("0 0 15W,20 * *", "day-of-month '15W,20': W must follow a single day, alone in its field: 15W or LW"),
    ("0 0 1-15W * *", "day-of-month '1-15W': use 1 to 31"),
    ("0 0 15W * MON", "day-of-month '15W' needs '*' in day-of-week, not 'MON'"),
    ("0 0 15W * */2", "day-of-month '15W' needs '*' in day-of-week, not '*/2'"),
    ("0 0 1 * MON#1", "day-of-week 'MON#1' needs '*' in day-of-month, not '1'"),
    ("0 0 */2 * FRIL", "day-of-week 'FRIL' needs '*' in day-of-month, not '*/2'"),
    ("0 0 * * MON#6", "day-of-week 'MON#6': after '#', say which one of the month it is, 1 to 5"),
    ("0 0 * * MON#", "day-of-week 'MON#': after '#', say which one of the month it is, 1 to 5"),
    ("0 0 * * #1", "day-of-week '#1': a number is missing (0 to 7 or SUN to SAT)"),
    ("0 0 * * 1-5#1", "day-of-week '1-5#1': use 0 to 7 or SUN to SAT"),
    ("0 0 * * L", "day-of-week 'L': name the weekday, for example 5L, the last Friday of the month"),
    ("0 0 * * L5", "day-of-week 'L5': use 0 to 7 or SUN to SAT"),
    (
        "0 0 * * MON#1,FRI",
        "day-of-week 'MON#1,FRI': '#' and 'L' cannot be combined with plain weekdays: use two jobs",
    ),
    ("61 0 0 * * *", "second '61': use 0 to 59 (the first of six fields is the second)"),
    (
        "0 9 * * MON 0",
        "month 'MON': use 1 to 12 or JAN to DEC (the first of six fields is the second)",
    ),
    ("@reboot", f"there is no '@reboot': use one of {NICKNAMES}"),
    ("@dayly", f"there is no '@dayly': use one of {NICKNAMES}"),
    ("@daily UTC", "@daily must be the whole schedule, without 'UTC'"),
    ("@every", "interval '': use whole seconds, minutes, hours or days: 90s, 1h30m, 2d"),
    ("@every 90", "interval '90': use whole seconds, minutes, hours or days: 90s, 1h30m, 2d"),
    ("@every 500ms", "interval '500ms': use whole seconds, minutes, hours or days: 90s, 1h30m, 2d"),
    ("@every 1.5h", "interval '1.5h': use whole seconds, minutes, hours or days: 90s, 1h30m, 2d"),
    ("@every 30m1h", "interval '30m1h': use whole seconds, minutes, hours or days: 90s, 1h30m, 2d"),
    ("@every 1h 30m", "interval '1h 30m': use whole seconds, minutes, hours or days: 90s, 1h30m, 2d"),
    ("@every -5s", "interval '-5s': use whole seconds, minutes, hours or days: 90s, 1h30m, 2d"),
    ("@every 0s", "interval '0s': must be at least 1s and at most 366d"),
    ("@every 31622401s", "interval '31622401s': must be at least 1s and at most 366d"),
    ("@every 367d", "interval '367d': must be at least 1s and at most 366d"),
    ("@every 999999999d", "interval '999999999d': must be at least 1s and at most 366d"),
    ("٣ * * * *", "the character '\\u0663' is not allowed: use plain ASCII on one line"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_means_the_same(one: str, other: str) -> None:
    assert Schedule(one) == Schedule(other)
    assert hash(Schedule(one)) == hash(Schedule(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_means_something_else(one: str, other: str) -> None:
    assert Schedule(one) != Schedule(other)


@pytest.mark.parametrize(("expression", "why"), REFUSED)
def test_refused(expression: str, why: str) -> None:
    with pytest.raises(ScheduleError) as refusal:
        Schedule(expression)
    assert str(refusal.value) == f"cannot read schedule '{expression}': {why}"


@pytest.mark.parametrize(("space", "name"), [("\n", "\\n"), ("\r", "\\r"), ("\x00", "\\x00"), ("\xa0", "\\xa0")])
def test_other_white_space_is_refused_and_shown_as_a_dot(space: str, name: str) -> None:
    with pytest.raises(ScheduleError) as refusal:
        Schedule(f"0{space}0 * * *")
    why = f"the character '{name}' is not allowed: use plain ASCII on one line"
    assert str(refusal.value) == f"cannot read schedule '0·0 * * *': {why}"


@pytest.mark.parametrize(
    "text",
    ["9" * 5000 + " * * * *", "9" * 200 + " * * * *", "*/" + "9" * 200 + " * * * *", "@" + "9" * 200,
     "@every " + "9" * 200, "0 0 * * " + "9," * 100 + "1#1", "0 0 " + "9" * 100 + "W * 9"],
)  # fmt: skip
def test_long_input_is_refused_at_once_and_not_repeated(text: str) -> None:
    with pytest.raises(ScheduleError) as refusal:
        Schedule(text)
    assert str(refusal.value).count("9") <= 80


def test_the_longest_schedule() -> None:
    padding = " " * (256 - len("0 0 * * *"))
    assert Schedule("0 0 * *" + padding + " *").expression == "0 0 * * *"
    with pytest.raises(ScheduleError, match="257 characters; a schedule has at most 256"):
        Schedule("0 0 * *" + padding + "  *")


@pytest.mark.parametrize("thing", [None, 5, b"0 0 * * *", ["0", "0", "*", "*", "*"]])
def test_only_text_is_a_schedule(thing: object) -> None:
    with pytest.raises(ScheduleError, match="a schedule is text"):
        Schedule(thing)  # type: ignore[arg-type]


PIECES = st.text(alphabet="0123456789*,-/?LWH#@ \tMONJAN\né", max_size=300)


@given(st.one_of(PIECES, st.lists(PIECES.map(lambda text: text[:6]), min_size=5, max_size=6).map(" ".join)))
def test_any_text_is_read_or_refused_in_one_short_line(text: str) -> None:
    try:
        schedule = Schedule(text)
    except ScheduleError as error:
        message = str(error)
    else:
        message = "cannot read schedule " + schedule.words
        assert schedule.next_due(0) > 0
        assert Schedule(schedule.expression) == schedule
    assert message.startswith("cannot read schedule ")
    assert message.isprintable()
    assert len(message) < 400
