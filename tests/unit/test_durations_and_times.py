"""Durations in Go's form, times of day in the image's form."""

from datetime import timedelta

import pytest

from deployment.durations import format_duration, parse_duration
from infra.times import apart, twelve_hour


@pytest.mark.parametrize(
    ("text", "seconds", "canonical"),
    [
        ("60s", 60, "1m0s"),
        ("90s", 90, "1m30s"),
        ("1m30s", 90, "1m30s"),
        ("10m", 600, "10m0s"),
        ("1h", 3600, "1h0m0s"),
        ("5s", 5, "5s"),
        ("1500ms", 1.5, "2s"),
    ],
)
def test_durations_have_one_spelling(text: str, seconds: float, canonical: str) -> None:
    """Go's time.Duration.String prints 60 s as 1m0s, and so does `docker inspect` through the provider."""
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert format_duration(parse_duration(text)) == canonical


@pytest.mark.parametrize("text", ["", "60", "1 m", "m", "10m 5s", "-5s", "1d", "5sx"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 40 + "m", "9" * 400 + "h", "8785h", "1m" * 1_000_000])
def test_what_would_overflow_a_clock_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than a year") as refused:
        parse_duration(text)
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("text", "expected"),
    [("23:59", "11:59 PM"), ("00:05", "12:05 AM"), ("12:00", "12:00 PM"), ("07:05", "07:05 AM"), ("01:00", "01:00 AM")],
)
def test_times_reach_the_image_in_its_own_form(text: str, expected: str) -> None:
    """AUTO_RESTART_TIME is `hh:mm AM/PM` with a two-digit hour (IBC's config.ini)."""
    assert twelve_hour(text) == expected


@pytest.mark.parametrize(
    ("one", "other", "minutes"), [("23:59", "00:01", 2), ("00:00", "12:00", 720), ("07:00", "23:59", 421)]
)
def test_distance_goes_around_the_clock(one: str, other: str, minutes: int) -> None:
    assert apart(one, other) == timedelta(minutes=minutes)
