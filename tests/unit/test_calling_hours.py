"""Calendars, windows and calling hours: nobody is called at night, on a holiday or a weekend."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.calendars import Calendar, Calendars, InvalidCalendar, YearNotCovered, load_calendar
from billing.calling_hours import (
    CallingHours,
    InvalidWindow,
    NeverOpen,
    Window,
    parse_window,
)

SHIPPED = Path(__file__).parents[2] / "conf" / "calendars"
TEHRAN = ZoneInfo("Asia/Tehran")
IRAN = load_calendar(SHIPPED / "iran.yaml")
RUSSIA = load_calendar(SHIPPED / "russia.yaml")
ARAB = load_calendar(SHIPPED / "arab.yaml")
TEHRAN_NUMBER = "+982188776655"

moments = st.datetimes(datetime(2026, 1, 1), datetime(2028, 9, 30), timezones=st.just(UTC))
windows = (
    st.tuples(st.integers(0, 24 * 60), st.integers(0, 24 * 60))
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: Window(min(pair), max(pair)))
)
zones = st.sampled_from(["Asia/Tehran", "Europe/Moscow", "Asia/Vladivostok", "America/New_York"])


@pytest.mark.parametrize(
    ("calendar", "day", "works"),
    [
        (IRAN, date(2026, 11, 21), True),  # a Saturday
        (IRAN, date(2026, 11, 20), False),  # a Friday
        (IRAN, date(2026, 3, 21), False),  # 1 Farvardin 1405
        (IRAN, date(2027, 3, 21), False),  # 1 Farvardin 1406
        (IRAN, date(2028, 3, 20), False),  # 1 Farvardin 1407
        (IRAN, date(2027, 2, 11), False),  # 22 Bahman
        (IRAN, date(2026, 6, 25), False),  # Ashura 1448
        (RUSSIA, date(2026, 11, 21), False),  # a Saturday
        (RUSSIA, date(2026, 11, 20), True),
        (RUSSIA, date(2027, 1, 8), False),
        (RUSSIA, date(2027, 5, 10), False),  # 9 May is a Sunday
        (ARAB, date(2026, 11, 20), False),
        (ARAB, date(2026, 11, 21), False),
        (ARAB, date(2026, 11, 22), True),
        (ARAB, date(2027, 3, 9), False),  # Eid al-Fitr 1448
        (ARAB, date(2028, 5, 5), False),  # Eid al-Adha 1449
    ],
)
def test_shipped_calendars_know_weekends_and_holidays(
    calendar: Calendar, day: date, works: bool
) -> None:
    """Days that everybody in the country knows to be free, or not, are so."""
    assert calendar.is_working(day) is works


@pytest.mark.parametrize("calendar", [IRAN, RUSSIA, ARAB], ids=lambda calendar: calendar.name)
def test_shipped_calendars_cover_three_years(calendar: Calendar) -> None:
    """2026 to 2028 are covered, each with holidays of its own; another year is a clear error."""
    assert {day.year for day in calendar.holidays} == {2026, 2027, 2028} == calendar.years
    with pytest.raises(YearNotCovered, match=f"{calendar.name} covers 2026, 2027, 2028, not 2029"):
        calendar.is_working(date(2029, 1, 10))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("name: X\n", "exactly the entries"),
        ("name: X\nweekend: [freitag]\nyears: [2026]\nholidays: {}\n", "weekend"),
        ("name: X\nweekend: [friday]\nyears: []\nholidays: {}\n", "years"),
        ("name: X\nweekend: []\nyears: [2026]\nholidays: {2027-01-01: a}\n", "2027-01-01"),
        ("name: X\nweekend: []\nyears: [2026]\nholidays: {soon: a}\n", "soon"),
        ("name: X\nweekend: []\nyears: [2026]\nholidays: {2026-02-30: a}\n", "day is out of range"),
        ("name: [\n", "calendar"),
    ],
)
def test_a_malformed_calendar_says_what_is_wrong(tmp_path: Path, content: str, why: str) -> None:
    """The error names the file and the entry; nothing is guessed."""
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(InvalidCalendar, match=why) as caught:
        load_calendar(path)
    assert "x.yaml" in str(caught.value)


def test_calendars_are_read_again_when_they_change(tmp_path: Path) -> None:
    """A holiday that is added to the file holds from then on, without a restart."""
    path = tmp_path / "x.yaml"
    text = "name: X\nweekend: [friday]\nyears: [2026]\nholidays: {%s}\n"
    path.write_text(text % "")
    calendars = Calendars(tmp_path)
    assert calendars.get("x").is_working(date(2026, 11, 23))
    path.write_text(text % "2026-11-23: Flood")
    assert not calendars.get("x").is_working(date(2026, 11, 23))
    with pytest.raises(InvalidCalendar, match="there: x"):
        calendars.get("y")
    with pytest.raises(InvalidCalendar, match="lower case"):
        calendars.get("../x")


@pytest.mark.parametrize("text", ["9-20", "20:00-09:00", "09:00-09:00", "09:00-24:01", "x", ""])
def test_a_wrong_window_is_refused(text: str) -> None:
    """The error shows how it is written."""
    with pytest.raises(InvalidWindow):
        parse_window(text)


@given(windows)
def test_windows_are_read_as_they_are_written(window: Window) -> None:
    """Text and window are the same thing twice."""
    assert parse_window(str(window)) == window


@given(moments, windows, zones, st.sampled_from([None, IRAN, RUSSIA, ARAB]))
def test_an_open_moment_is_inside_window_and_calendar(
    now: datetime, window: Window, zone: str, calendar: Calendar | None
) -> None:
    """`next_open` is not before now, lies in the window of a working day by the local clock, and
    is the first such minute: none between now and then is open."""
    home = ZoneInfo(zone)
    hours = CallingHours(window, calendar, home)
    try:
        opens = hours.home_next_open(now)
    except NeverOpen:
        return

    def is_open(moment: datetime) -> bool:
        local = moment.astimezone(home)
        minute = local.hour * 60 + local.minute
        works = calendar is None or calendar.is_working(local.date())
        return works and window.start <= minute < window.end

    assert opens >= now
    assert is_open(opens)
    assert hours.home_next_open(opens) == opens
    if opens > now:
        span = opens - now
        for part in range(50):
            assert not is_open(now + span * part / 50)


@given(moments, zones, st.floats(0, 5 * 86_400))
def test_open_time_is_counted_in_open_hours_only(now: datetime, zone: str, open_s: float) -> None:
    """`after` ends in open hours, and so much later as there is open time between."""
    hours = CallingHours(parse_window("09:00-20:00"), None, ZoneInfo(zone))
    end = hours.after(now, open_s)
    start = hours.home_next_open(now)
    days = int(open_s // (11 * 3600))
    assert end - start >= timedelta(seconds=open_s)
    assert end - start <= timedelta(seconds=open_s, hours=13 * (days + 1) + 2)


def test_the_subscribers_own_clock_counts() -> None:
    """At noon in Moscow nobody is called in Vladivostok, where it is evening."""
    hours = CallingHours(parse_window("09:00-18:00"), RUSSIA, ZoneInfo("Europe/Moscow"))
    noon = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    assert hours.next_open("+74951234567", noon) == noon
    monday = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)  # Monday 09:00 in Vladivostok
    assert hours.next_open("+74232123456", noon) == monday


def test_a_mobile_of_many_zones_counts_as_home_or_waits_for_all() -> None:
    """A Russian mobile is the home zone's for an operator in one of its zones; for one elsewhere
    it is called when the window is open in all of them."""
    mobile = "+79161234567"
    window = parse_window("08:00-22:00")
    noon = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    assert CallingHours(window, None, ZoneInfo("Europe/Moscow")).next_open(mobile, noon) == noon
    elsewhere = CallingHours(window, None, TEHRAN).next_open(mobile, noon)
    for zone in ("Europe/Bucharest", "Asia/Anadyr"):
        local = elsewhere.astimezone(ZoneInfo(zone))
        assert 8 <= local.hour < 22


def test_hours_that_never_open_are_an_error() -> None:
    """A window that no common moment of the zones lies in does not search for ever."""
    hours = CallingHours(parse_window("09:00-10:00"), None, TEHRAN)
    with pytest.raises(NeverOpen):
        hours.next_open("+79161234567", datetime(2026, 11, 20, 9, 0, tzinfo=UTC))


def test_a_year_that_is_not_covered_is_an_error() -> None:
    """On the last evening that the calendar knows, the next opening cannot be told."""
    hours = CallingHours(parse_window("09:00-20:00"), IRAN, TEHRAN)
    with pytest.raises(YearNotCovered, match="add the holidays of 2029"):
        hours.next_open(TEHRAN_NUMBER, datetime(2028, 12, 31, 20, 0, tzinfo=UTC))
