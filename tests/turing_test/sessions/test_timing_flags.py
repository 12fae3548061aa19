"""Which trials are marked: misfortunes of honest people, and what no page of a study sends."""

import pytest

from turing_test.sessions.timing_flags import FLAGS, SUSPECT, Exposure, Showing, least_ms, timing_flags
from turing_test.study.protocol import Protocol

PROTOCOL = Protocol()


def seen(on, ms=1000.0, hz=60.0, **more):
    """An image as a display of a given rate shows it."""
    frames = round(ms * hz / 1000)
    values = {"frames": frames, "largest_gap_ms": 1000 / hz, "hidden": False, "clock": "presented", **more}
    return Exposure(on_ms=on, off_ms=on + ms, **values)


def flags(first=None, second=None, protocol=PROTOCOL, hz=60.0, **more):
    exposures = [first or seen(100, hz=hz), second or seen(1700, hz=hz)][: protocol.images_per_trial]
    least = least_ms(protocol)
    known = {"interval_ms": 1000 / hz, "first_interval_ms": 1000 / hz, "took_ms": least + 100, **more}
    return timing_flags(Showing(exposures=exposures, **known), protocol)


def test_an_honest_trial_has_no_flag():
    assert flags() == []
    assert set(SUSPECT) < set(FLAGS)


@pytest.mark.parametrize(
    ("ms", "expected"), [(983.4, []), (1016.7, []), (966.6, ["first_duration"]), (1033.4, ["first_duration"])]
)
def test_one_frame_is_within_the_protocol_two_are_not(ms, expected):
    assert flags(seen(100, ms)) == expected


@pytest.mark.parametrize(("hz", "ms", "expected"), [
    (24, 1041.0, ["low_refresh"]),  # a frame too many
    (24, 1083.3, ["first_duration", "low_refresh"]),
    (12, 1083.0, ["first_duration", "low_refresh"]),  # within a frame, and 83 ms off
    (12, 1000.0, ["low_refresh"]),
    (50, 1020.0, []),
    (144, 1009.0, ["first_duration"]),
])  # fmt: skip
def test_slow_displays_have_a_bound_in_milliseconds_beside_that_in_frames(hz, ms, expected):
    assert flags(seen(100, ms, hz), seen(1750, hz=hz), hz=hz) == expected


def test_the_rate_below_which_trials_are_flagged_is_declared():
    assert flags(hz=60, protocol=Protocol(min_refresh_hz=75)) == ["low_refresh"]
    assert flags(seen(100, hz=30), seen(1700, hz=30), hz=30, protocol=Protocol(min_refresh_hz=24)) == []


def test_a_page_gains_no_tolerance_by_saying_that_its_frames_are_long():
    short = Protocol(image_ms=300)
    long_frames = {"interval_ms": 10_000.0, "first_interval_ms": 1000 / 60}
    found = flags(seen(100, 20), seen(720, 20), protocol=short, **long_frames)
    assert found[:2] == ["first_duration", "second_duration"]
    # Whatever it said at the beginning:
    found = flags(seen(100, 200), seen(900, 200), protocol=short, interval_ms=1000.0, first_interval_ms=1000.0)
    assert found[:2] == ["first_duration", "second_duration"]


def test_a_cropped_or_hidden_image_is_flagged_for_the_trial():
    assert flags(second=seen(1700, cropped=True)) == ["cropped"]
    assert flags(second=seen(1700, zoomed=True)) == ["zoomed"]
    assert flags(second=seen(1700, hidden=True)) == ["hidden"]


@pytest.mark.parametrize(("first", "second"), [
    (seen(1700), seen(100)),  # the wrong order
    (seen(100), seen(100)),  # at the same time
    (seen(100), seen(1200)),  # without a gap
    (seen(100, frames=600), seen(1700)),  # more frames than there is room for
    (seen(100, frames=0), seen(1700)),  # no frame at all
    (seen(100, frames=10), seen(1700)),  # frames and gaps do not add up to the time
    (seen(100, -1000), seen(1700)),  # gone before it came
])  # fmt: skip
def test_times_that_no_display_can_have_are_implausible(first, second):
    assert "implausible" in flags(first, second)


def test_side_by_side_images_come_together():
    protocol = Protocol.of_preset("simultaneous")
    assert flags(seen(100), seen(100), protocol) == []
    assert flags(seen(100), seen(1700), protocol) == ["implausible"]


@pytest.mark.parametrize("preset", ["zhang2016", "simultaneous", "preference", "naturalness"])
def test_the_servers_clock_knows_the_least_time_of_a_trial(preset):
    protocol = Protocol.of_preset(preset)
    images = 2 * 1000 + 600 if protocol.sequential else 1000
    assert least_ms(protocol) == 900 + images - 50
    assert least_ms(protocol, answered=True) == 900 + images + 100 - 50
    second = seen(1700 if protocol.sequential else 100)
    least = least_ms(protocol)
    assert flags(second=second, protocol=protocol, took_ms=least - 1) == ["too_fast"]
    assert flags(second=second, protocol=protocol, took_ms=least + 2000) == []
    assert flags(second=second, protocol=protocol, took_ms=least + 2400) == ["slow_start"]  # 300: the very first blank
    assert flags(second=second, protocol=protocol, took_ms=-3_600_000) == []  # the clock was set back


def test_a_page_that_was_hidden_is_as_much_faster_as_it_lost_of_the_image():
    lost = seen(100, 200, hidden=True)
    least = least_ms(PROTOCOL) - 800
    assert flags(lost, seen(900), took_ms=least) == ["hidden", "first_duration"]
    assert flags(lost, seen(900), took_ms=least - 1) == ["hidden", "first_duration", "too_fast"]


def test_a_page_that_was_hidden_may_take_its_time():
    assert flags(seen(100, hidden=True), took_ms=60_000) == ["hidden"]


def test_images_that_were_not_fetched_are_flagged():
    assert flags(fetched=False) == ["not_fetched"]


UNTIMED = Protocol.of_preset("simultaneous", image_ms="until answered")
EARLY = Protocol(answer_while_shown=True)


def untimed(stays, answered, took=None, **more):
    both = {"first": seen(100, stays, **more), "second": seen(100, stays, **more)}
    return flags(**both, protocol=UNTIMED, response_ms=answered, took_ms=850 + stays + 200 if took is None else took)


def test_images_without_a_limit_are_flagged_for_outlasting_the_answer_and_for_nothing_else():
    assert [untimed(stays, stays - 30) for stays in (200.0, 5_000.0, 600_000.0)] == [[], [], []]
    assert untimed(5_000.0, 4_800.0) == ["first_duration", "second_duration"]
    assert untimed(5_000.0, 5_100.0) == ["first_duration", "second_duration"]  # gone before the answer
    assert untimed(5_000.0, 4_970.0, hidden=True) == ["hidden"]


def test_the_servers_clock_is_the_witness_of_how_long_somebody_looked():
    assert untimed(30_000.0, 29_980.0, took=300) == ["too_fast"]  # a script says that it looked for half a minute
    assert untimed(400.0, 380.0, took=8_000) == ["slow_start"]  # shown for longer than is said
    assert "implausible" in untimed(5_000.0, None)  # nothing ended them


def test_an_answer_may_end_the_second_image_but_not_the_first():
    def early(first_ms=1000.0, second_ms=400.0, answered=380.0):
        exposures = {"first": seen(100, first_ms), "second": seen(700 + first_ms, second_ms)}
        return flags(**exposures, protocol=EARLY, response_ms=answered, took_ms=3_700)

    assert early() == []
    assert early(second_ms=1000.0, answered=None) == []  # the answer came later
    assert early(second_ms=400.0, answered=None) == ["second_duration"]
    assert early(first_ms=400.0) == ["first_duration"]


@pytest.mark.parametrize(
    ("protocol", "shown", "answered"),
    [
        (Protocol(), 3450, 3550),
        (Protocol(mask="noise", mask_ms=100), 3650, 3750),
        (EARLY, 2450, 2450),
        (UNTIMED, 850, 850),
        (Protocol.of_preset("naturalness", mask="plain", mask_ms=100), 1950, 2050),
    ],
)
def test_the_least_time_counts_what_no_answer_can_cut_short(protocol, shown, answered):
    assert (least_ms(protocol), least_ms(protocol, answered=True)) == (shown, answered)


def test_a_mask_is_part_of_the_time_between_two_images():
    masked = Protocol(mask="noise", mask_ms=300)
    assert flags(seen(100), seen(2000), protocol=masked) == []
    assert flags(seen(100), seen(1700), protocol=masked) == ["implausible"]
