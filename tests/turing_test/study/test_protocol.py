"""Presets, the checks of every option, and the commented study file."""

import dataclasses
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import InputError
from turing_test.study.protocol import PRESETS, SECTIONS, Protocol, options, parse_setting
from turing_test.study.study_file import format_protocol, parse_protocol, read_protocol


class TestThePresetOfThePaper:
    def test_shows_what_the_papers_tool_showed(self):
        p = Protocol.of_preset("zhang2016")
        assert (p.size, p.image_ms, p.first_blank_ms, p.blank_ms, p.gap_ms) == (256, 1000, 1200, 900, 600)
        assert (p.answer_delay_ms, p.feedback_ms, p.practice_trials, p.test_trials) == (100, 2400, 10, 40)
        assert (p.vigilance_trials, p.sessions_per_method) == (4, 40)

    def test_excludes_nobody(self):
        p = Protocol.of_preset("zhang2016")
        assert (p.vigilance_min, p.catch_pass) == (0, 0)


@pytest.mark.parametrize(
    ("preset", "sequential", "real_vs_fake", "images"),
    [
        ("zhang2016", True, True, 2),
        ("simultaneous", False, True, 2),
        ("preference", True, False, 2),
        ("naturalness", False, False, 1),
    ],
)
def test_presets_differ_in_what_is_on_screen(preset, sequential, real_vs_fake, images):
    p = Protocol.of_preset(preset)
    assert (p.sequential, p.real_vs_fake, p.images_per_trial) == (sequential, real_vs_fake, images)


@pytest.mark.parametrize(
    ("preset", "changes", "words", "departures"),
    [
        ("zhang2016", {}, "one after the other for 1000 ms each", ()),
        ("simultaneous", {}, "side by side for 1000 ms", ()),
        ("naturalness", {"image_ms": "until answered"}, "until they answered", ('image_ms = "until answered"',)),
        ("preference", {"side_by_side": True, "answer_while_shown": True}, "side by side for at most 1000 ms or until they answered",
         ("side_by_side = true", "answer_while_shown = true", "gap_ms = 0")),
        ("zhang2016", {"mask": "noise", "mask_ms": 50}, "one after the other for 1000 ms each, each followed by a mask (noise) of 50 ms,",
         ('mask = "noise"', "mask_ms = 50")),
        ("zhang2016", {"break_every": 20, "break_s": 60}, "one after the other for 1000 ms each",
         ("break_every = 20", "break_s = 60")),
    ],
)  # fmt: skip
def test_how_images_are_shown_is_said_in_words_and_as_departures(preset, changes, words, departures):
    p = Protocol.of_preset(preset, **changes)
    assert (p.presented, p.departures) == (words, departures)
    assert parse_protocol(format_protocol(p)) == p


def test_breaks_come_between_trials_of_the_test_only():
    p = Protocol(practice_trials=3, test_trials=10, vigilance_trials=2, catch_trials=1, break_every=4, break_s=60)
    assert [position for position in range(1, p.session_trials + 2) if p.has_break_before(position)] == [8, 12]
    assert p.idle_allowed_s(8) - p.idle_allowed_s(9) == 60


def test_digests_of_studies_from_before_these_options_stay_what_they_were():
    # Printed by the version before the options came.
    assert (
        Protocol.of_preset("simultaneous").asked_digest
        == "39a4d3ae40a7b09f4ce02a77d5ac26c85875ea33ea8c6f8402d8c41bd708a976"
    )
    assert (
        Protocol.of_preset("preference").asked_digest
        == "0e7d5a33047f026ff07d2b3f8b4b5f251b07d632351d91e32e27636edbda0fcb"
    )


def test_catch_trials_come_on_top_of_the_test():
    p = Protocol.of_preset("zhang2016", catch_trials=6)
    assert (p.shown_test_trials, p.session_trials, p.images_needed) == (46, 56, 66)


class TestImpossibleStudiesAreRefused:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"image_ms": "1000"}, 'image_ms is "1000"; allowed is a whole number from 20 to 60000'),
            ({"image_ms": 1000.0}, "image_ms is 1000.0; allowed is a whole number"),
            ({"image_ms": True}, "image_ms is true; allowed is a whole number"),
            ({"image_ms": 0}, "image_ms is 0; allowed is a whole number from 20"),
            ({"color_vision": 1}, "color_vision is 1; allowed is true or false"),
            ({"fit": "stretch"}, 'fit is "stretch"; allowed is "warp" or "crop"'),
            ({"name": ""}, 'name is ""; allowed is 1 to 64 letters'),
            ({"name": "../x"}, "name is"),
            ({"consent_file": "../../secret"}, "consent_file is"),
            ({"consent_file": ".."}, "consent_file is"),
            ({"contact": "a\nb"}, "contact is"),
            ({"mturk_frame_hosts": ("http://evil",)}, "mturk_frame_hosts is"),
            ({"mturk_frame_hosts": ("https://a; script-src *",)}, "mturk_frame_hosts is"),
            ({"public_url": "study.example.org"}, "public_url is"),
            ({"public_url": "https://example.org/study?a=b"}, "allowed is an address such as"),
            ({"public_url": "https://example.org//study"}, "allowed is an address such as"),
            ({"public_url": "https://example.org/../study"}, "allowed is an address such as"),
            ({"prolific_completed": "a b"}, "prolific_completed is"),
            ({"vigilance_trials": 40}, "vigilance_trials is 40 of test_trials = 40; allowed are fewer"),
            ({"vigilance_trials": 5}, "allowed is an even number"),
            ({"vigilance_min": 5}, "vigilance_min is 5, but vigilance_trials is 4"),
            ({"catch_pass": 5}, "catch_pass is 5, but catch_trials is 0"),
            ({"size": 1024, "min_width": 1023}, "min_width is 1023, .* at least 1024"),
            ({"size": 256, "min_height": 303}, "min_height is 303, .* at least 304"),
            ({"imagems": 5}, "no key 'imagems' \\(did you mean 'image_ms'\\?\\)"),
        ],
    )
    def test_the_key_and_what_is_allowed_are_named(self, changes, message):
        with pytest.raises(InputError, match=message):
            Protocol.of_preset("zhang2016", **changes)

    @pytest.mark.parametrize(
        ("preset", "changes", "message"),
        [
            (
                "zhang2016",
                {"image_ms": "until answered"},
                'the first would never go; allowed is a number, or preset = "simultaneous"',
            ),
            ("preference", {"image_ms": "until answered"}, "allowed is a number, or side_by_side = true"),
            ("naturalness", {"image_ms": "forever"}, 'allowed is a whole number from 20 to 60000, or "until answered"'),
            ("zhang2016", {"side_by_side": True}, 'allowed is false, or preset = "simultaneous"'),
            (
                "naturalness",
                {"side_by_side": True},
                'side_by_side is true with preset = "naturalness"; allowed is false',
            ),
            ("simultaneous", {"side_by_side": False}, 'allowed is true, or preset = "zhang2016"'),
            ("preference", {"side_by_side": True, "gap_ms": 600}, "gap_ms is 600 with side_by_side = true"),
            ("naturalness", {"mask": "noise", "mask_ms": 100, "answer_while_shown": True}, "nothing is left to mask"),
            (
                "simultaneous",
                {"mask": "noise", "mask_ms": 100, "image_ms": "until answered"},
                'mask is "noise" with image_ms',
            ),
            ("zhang2016", {"mask": "noise"}, 'mask_ms is 0 with mask = "noise"; allowed is more than 0'),
            ("zhang2016", {"mask_ms": 100}, 'mask_ms is 100 with mask = "none"; allowed is 0'),
            ("zhang2016", {"mask": "grey"}, 'mask is "grey"; allowed is "none" or "plain"'),
            ("zhang2016", {"blocks": "method"}, 'blocks is "method" with methods_per_person = 1'),
            ("zhang2016", {"break_every": 40}, "break_every is 40, and the test has 40 trials"),
            ("zhang2016", {"break_s": 60}, 'break_s is 60 without break_every; allowed is "unlimited"'),
            (
                "zhang2016",
                {"break_every": 10, "break_s": 3601},
                "break_s is 3601, longer than session_timeout_s = 3600",
            ),
            (
                "naturalness",
                {"answer_while_shown": True, "min_height": 360},
                "min_height is 360, too little .* at least 368",
            ),
            ("preference", {"side_by_side": True, "min_width": 400}, "min_width is 400, .* at least 528"),
        ],
    )
    def test_designs_that_contradict_themselves(self, preset, changes, message):
        with pytest.raises(InputError, match=message):
            Protocol.of_preset(preset, **changes)

    @pytest.mark.parametrize("preset", ["preference", "naturalness"])
    @pytest.mark.parametrize("key", ["vigilance_trials", "catch_trials", "feedback_ms"])
    def test_nothing_is_right_or_wrong_without_a_truth(self, preset, key):
        with pytest.raises(InputError, match=f"{key} is 2 with preset"):
            Protocol.of_preset(preset, **{key: 2})

    def test_one_image_has_no_gap(self):
        with pytest.raises(InputError, match="gap_ms is 600"):
            Protocol.of_preset("naturalness", gap_ms=600)

    def test_two_images_side_by_side_need_room(self):
        with pytest.raises(InputError, match=r"allowed is 0 \(as much as the images take\) or at least 816"):
            Protocol.of_preset("simultaneous", size=400, min_width=800)

    @pytest.mark.parametrize(
        ("preset", "changes", "window"),
        [
            ("zhang2016", {}, (640, 304)),
            ("zhang2016", {"size": 768}, (1552, 816)),
            ("zhang2016", {"size": 768, "min_width": 768}, (768, 816)),
            ("simultaneous", {"size": 512}, (1040, 560)),
            ("naturalness", {"size": 1024}, (1024, 1072)),
            ("preference", {"min_width": 320, "min_height": 600}, (320, 600)),
            ("preference", {"side_by_side": True, "size": 400}, (816, 448)),
            ("simultaneous", {"image_ms": "until answered"}, (640, 368)),
        ],
    )
    def test_the_window_follows_from_the_size_of_the_images(self, preset, changes, window):
        protocol = Protocol.of_preset(preset, **changes)
        assert (protocol.window_width, protocol.window_height) == window

    def test_an_unknown_preset_is_answered_with_the_nearest(self):
        with pytest.raises(InputError, match="did you mean 'zhang2016'"):
            Protocol.of_preset("zhang2017")


class TestTheStudyFile:
    @pytest.mark.parametrize("preset", PRESETS)
    def test_reads_back_what_was_written(self, preset):
        protocol = Protocol.of_preset(preset, name="pilot 1", contact='Ann "A" \\ Ünal <a@b.c>')
        assert parse_protocol(format_protocol(protocol)) == protocol

    @given(
        contact=st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=50),
        name=st.text(string.ascii_letters + string.digits, min_size=1, max_size=64),
        image_ms=st.integers(20, 60_000),
        open_link=st.booleans(),
        hosts=st.lists(st.sampled_from(["https://a.org", "https://b-c.org"])),
    )
    def test_reads_back_any_value(self, contact, name, image_ms, open_link, hosts):
        protocol = Protocol(
            contact=contact, name=name, image_ms=image_ms, open_link=open_link, mturk_frame_hosts=tuple(hosts)
        )
        assert parse_protocol(format_protocol(protocol)) == protocol

    def test_explains_every_option(self):
        text = format_protocol(Protocol())
        for field in dataclasses.fields(Protocol):
            assert re.search(rf"# .+\n{field.name} = ", text), field.name

    def test_absent_keys_have_the_value_of_the_preset(self):
        assert parse_protocol('preset = "naturalness"') == Protocol.of_preset("naturalness")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[timing]\nimage_sm = 5", r"in section \[timing\], there is no key 'image_sm' \(did you mean 'image_ms'"),
            ("[timings]\nimage_ms = 500", r"no section 'timings' \(did you mean 'timing'"),
            ("image_ms = 500", r"'image_ms' stands in the top of the file.*allowed is section \[timing\]"),
            ("[timing]\nname = 'x'", r"'name' stands in section \[timing\]; allowed is the top of the file"),
            ("[timing]\nimage_ms = 1.5", "image_ms is 1.5; allowed is a whole number"),
            ("[timing]\nimage_ms = 2020-01-01", "image_ms is"),
            ("[timing.image_ms]\nx = 1", "image_ms is"),
            ("preset = 3", "preset is 3; allowed is"),
            ("[recruiting]\nmturk_frame_hosts = [1]", "mturk_frame_hosts is"),
            ("[timing", "is no valid TOML"),
            (f"name = {'9' * 5000}", "is no valid TOML"),
            (f"name = {'[' * 5000}", "is no valid TOML"),
        ],
    )
    def test_mistakes_name_file_and_key(self, tmp_path, text, message):
        path = tmp_path / "study.toml"
        path.write_text(text)
        with pytest.raises(InputError, match=message) as caught:
            read_protocol(path)
        assert str(caught.value).startswith(str(path))

    def test_a_byte_order_mark_is_no_part_of_it(self, tmp_path):
        (tmp_path / "study.toml").write_bytes(b"\xef\xbb\xbfname = 'pilot'\r\n")
        assert read_protocol(tmp_path / "study.toml").name == "pilot"

    def test_a_missing_file_is_a_plain_sentence(self, tmp_path):
        with pytest.raises(InputError, match="cannot be read as a study file"):
            read_protocol(tmp_path / "none.toml")

    def test_every_option_belongs_to_a_section(self):
        assert {option.section for option in options()} == set(SECTIONS)


class TestSettings:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("image_ms=500", ("image_ms", 500)),
            ("color_vision = true", ("color_vision", True)),
            ("contact=a = b", ("contact", "a = b")),
            (
                "mturk_frame_hosts=https://a.org, https://b.org",
                ("mturk_frame_hosts", ("https://a.org", "https://b.org")),
            ),
        ],
    )
    def test_values_have_the_type_of_the_key(self, text, expected):
        assert parse_setting(text) == expected

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("image_ms", "no '='"),
            ("image_ms=fast", "image_ms is 'fast'; allowed is a whole number"),
            ("color_vision=1", "allowed is true or false"),
            ("imagems=5", "did you mean 'image_ms'"),
        ],
    )
    def test_mistakes_name_the_key(self, text, message):
        with pytest.raises(InputError, match=message):
            parse_setting(text)


def test_the_digest_changes_with_every_value():
    digests = {Protocol().digest, Protocol(image_ms=999).digest, Protocol(contact="x").digest}
    assert len(digests) == 3
    assert Protocol().digest == Protocol().digest
