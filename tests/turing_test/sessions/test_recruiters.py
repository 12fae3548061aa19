"""What platforms send and get back, translated at the border."""

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import InputError
from turing_test.sessions.recruiters import (
    PLATFORMS,
    SUBMIT_HOSTS,
    TOOK_PART,
    Arrival,
    Ending,
    find_recruiter,
)
from turing_test.sessions.states import ENDED
from turing_test.study.protocol import Protocol
from turing_test.study.recruiting_files import mturk_question, prolific_url

MTURK = {"assignmentId": "3A", "hitId": "3H", "workerId": "A1B2", "turkSubmitTo": "https://www.mturk.com"}
ADMITTING = Protocol(platforms=("mturk", "prolific"))
PROLIFIC = {"PROLIFIC_PID": "5f0c", "STUDY_ID": "60aa", "SESSION_ID": "61bb"}
CODES = Protocol(
    platforms=("mturk", "prolific"),
    prolific_completed="DONE",
    prolific_declined="NO",
    prolific_screened_out="OUT",
    prolific_incompatible="WIN",
    prolific_incomplete="FEW",
    prolific_full="FULL",
    prolific_expired="IDLE",
)
OUTCOMES = ("failed_checks", TOOK_PART, *ENDED)


@pytest.mark.parametrize(
    ("query", "platform"),
    [(MTURK, "mturk"), (PROLIFIC, "prolific"), ({}, "link"), ({"utm": "x"}, "link"), ({"workerId": "A"}, "mturk")],
)
def test_the_query_tells_the_platform(query, platform):
    assert find_recruiter(query).platform == platform


class TestAPlainLink:
    def test_once_used_is_one_person_and_open_is_nobody(self):
        link = PLATFORMS["link"]
        assert link.arrive({}, "abc", ADMITTING) == Arrival(platform="link", person=None, verified=True)
        assert link.arrive({}, None, ADMITTING) == Arrival(platform="link", person=None, verified=False)

    def test_ends_with_a_code(self):
        assert PLATFORMS["link"].leave("completed", "XY12", {}, CODES) == Ending(code="XY12")
        assert PLATFORMS["link"].leave("declined", "XY12", {}, CODES) == Ending()


class TestMechanicalTurk:
    def test_a_preview_is_nobody(self):
        arrival = PLATFORMS["mturk"].arrive(
            {"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE", "hitId": "3H"}, None, ADMITTING
        )
        assert arrival.preview
        assert arrival.person is None

    def test_an_accepted_assignment_is_submitted_with_another_field(self):
        arrival = PLATFORMS["mturk"].arrive(MTURK, None, ADMITTING)
        assert (arrival.person, arrival.place, arrival.verified, arrival.preview) == ("A1B2", "3A", False, False)
        form = PLATFORMS["mturk"].leave("completed", "XY12", arrival.handles, CODES).form
        assert form.action == "https://www.mturk.com/mturk/externalSubmit"
        assert form.fields == {"assignmentId": "3A", "code": "XY12"}

    @pytest.mark.parametrize("outcome", [o for o in OUTCOMES if o not in ("completed", "failed_checks")])
    def test_who_did_not_finish_returns_the_task(self, outcome):
        handles = PLATFORMS["mturk"].arrive(MTURK, None, ADMITTING).handles
        assert PLATFORMS["mturk"].leave(outcome, "XY12", handles, CODES) == Ending(give_back=True)

    def test_of_other_hits_is_refused_once_the_study_names_its_own(self):
        named = Protocol(platforms=("mturk",), mturk_hits=("3H", "3J"))
        assert PLATFORMS["mturk"].arrive(MTURK, None, named).person == "A1B2"
        with pytest.raises(InputError, match="hitId is not that of this study"):
            PLATFORMS["mturk"].arrive({**MTURK, "hitId": "3X"}, None, named)

    @pytest.mark.parametrize("host", SUBMIT_HOSTS)
    def test_both_sites_are_accepted(self, host):
        assert (
            PLATFORMS["mturk"].arrive({**MTURK, "turkSubmitTo": host + "/"}, None, ADMITTING).handles["turkSubmitTo"]
            == host
        )

    @pytest.mark.parametrize(
        "host",
        [
            "",
            "http://www.mturk.com",
            "https://www.mturk.com.evil.org",
            "https://evil.org/https://www.mturk.com",
            "https://www.mturk.com@evil.org",
            "https://www.mturk.com/../x",
            "javascript:alert(1)//https://www.mturk.com",
            "https://WWW.mturk.com\n",
        ],
    )
    def test_no_other_site_gets_the_answers(self, host):
        with pytest.raises(InputError, match="turkSubmitTo is not a site of Mechanical Turk"):
            PLATFORMS["mturk"].arrive({**MTURK, "turkSubmitTo": host}, None, ADMITTING)

    def test_a_forged_handles_leads_nowhere(self):
        forged = {"assignmentId": "3A", "turkSubmitTo": "https://evil.org"}
        assert PLATFORMS["mturk"].leave("completed", "XY12", forged, CODES) == Ending(give_back=True)

    @pytest.mark.parametrize("name", ["assignmentId", "workerId"])
    @pytest.mark.parametrize("value", [None, "", "a b", "a" * 65, "<script>", "${x}"])
    def test_a_query_that_is_not_the_platforms_is_refused(self, name, value):
        query = {k: v for k, v in {**MTURK, name: value}.items() if v is not None}
        with pytest.raises(InputError, match=f"{name} is missing or not as Mechanical Turk sends it"):
            PLATFORMS["mturk"].arrive(query, None, ADMITTING)

    def test_the_question_is_valid_xml_for_https_alone(self):
        root = ElementTree.fromstring(mturk_question("https://study.example.org/?a=1&b=2", 700).encode())
        space = "{http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2006-07-14/ExternalQuestion.xsd}"
        assert root.tag == f"{space}ExternalQuestion"
        assert root.find(f"{space}ExternalURL").text == "https://study.example.org/?a=1&b=2"
        assert root.find(f"{space}FrameHeight").text == "700"
        with pytest.raises(InputError, match="https:// only"):
            mturk_question("http://study.example.org")

    def test_the_page_may_be_framed_by_its_sites_alone(self):
        assert PLATFORMS["mturk"].frame_ancestors(CODES) == CODES.mturk_frame_hosts
        assert PLATFORMS["link"].frame_ancestors(CODES) == PLATFORMS["prolific"].frame_ancestors(CODES) == ()


class TestProlific:
    def test_names_the_person_and_the_submission(self):
        arrival = PLATFORMS["prolific"].arrive(PROLIFIC, None, ADMITTING)
        assert (arrival.person, arrival.place, arrival.verified) == ("5f0c", "61bb", False)

    @pytest.mark.parametrize(
        ("outcome", "code"),
        [
            ("completed", "DONE"),
            ("failed_checks", "DONE"),
            ("declined", "NO"),
            (TOOK_PART, "NO"),
            ("withdrawn", "NO"),
            ("screened_out", "OUT"),
            ("incompatible", "WIN"),
            ("incomplete", "FEW"),
            ("full", "FULL"),
            ("expired", "IDLE"),
        ],
    )
    def test_each_outcome_has_its_code(self, outcome, code):
        ending = PLATFORMS["prolific"].leave(outcome, "XY12", {}, CODES)
        assert ending == Ending(redirect=f"https://app.prolific.com/submissions/complete?cc={code}")

    def test_failed_checks_may_have_a_code_of_their_own(self):
        ending = PLATFORMS["prolific"].leave("failed_checks", "XY12", {}, Protocol(prolific_failed_checks="BAD"))
        assert ending.redirect.endswith("cc=BAD")

    def test_without_codes_a_finished_session_still_shows_its_own(self):
        assert PLATFORMS["prolific"].leave("completed", "XY12", {}, Protocol()) == Ending(code="XY12")
        assert PLATFORMS["prolific"].leave("expired", "XY12", {}, Protocol()) == Ending(give_back=True)

    @pytest.mark.parametrize("paying", ["prolific_completed", "prolific_failed_checks"])
    def test_a_second_participation_is_returned_and_never_with_a_code_that_pays(self, paying):
        leave = PLATFORMS["prolific"].leave
        assert leave(TOOK_PART, "", {}, CODES) == leave("declined", "", {}, CODES)
        assert leave(TOOK_PART, "", {}, Protocol(prolific_declined="X", **{paying: "X"})) == Ending(give_back=True)

    def test_the_address_names_what_prolific_fills_in(self):
        assert prolific_url("https://study.example.org/") == (
            "https://study.example.org/?PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"
        )

    def test_an_address_that_was_not_filled_in_is_refused(self):
        with pytest.raises(InputError, match="PROLIFIC_PID is missing or not as Prolific sends it"):
            find_recruiter({"PROLIFIC_PID": "{{%PROLIFIC_PID%}}"}).arrive(
                {"PROLIFIC_PID": "{{%PROLIFIC_PID%}}"}, None, ADMITTING
            )


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20)), st.sampled_from(OUTCOMES))
def test_whatever_is_sent_at_most_one_way_out_is_given_and_only_to_known_places(query, outcome):
    recruiter = find_recruiter(query)
    try:
        arrival = recruiter.arrive(query, None, ADMITTING)
    except InputError:
        return
    ending = recruiter.leave(outcome, "XY12", arrival.handles, CODES)
    assert sum(way is not None for way in (ending.code, ending.redirect, ending.form)) <= 1


def test_persons_do_not_show_in_messages():
    assert "A1B2" not in repr(PLATFORMS["mturk"].arrive(MTURK, None, ADMITTING))
