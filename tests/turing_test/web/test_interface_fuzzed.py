"""The interface under requests that no page would send: made from its own description, and in any order."""

from __future__ import annotations

import pytest
import schemathesis
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.turing_test.participants import DEVICE, Participant, exposure
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.web.app import create_app
from turing_test.web.limits import Limits

QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = ("start", "view", "ahead", "device", "vision", "withdraw", "begin", "shown", "answer")
load_all_checks()


# --- made from the description -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    app = create_app(make_study(tmp_path_factory.mktemp("fuzzed") / "study"), limits=Limits.none())
    yield app
    app.extensions["turing_test"].storage.close()


@pytest.fixture
def participant(app):
    """A participant in the middle of the test, so that requests reach more than a missing session."""
    found = Participant(app, app.extensions["turing_test"].study)
    found.enter()
    for number in (1, 2, 3):
        found.show(number)
        found.answer(number)
    return found


def rows(app):
    storage = app.extensions["turing_test"].storage
    return {
        table.name: storage.read(lambda c, t=table: c.execute(sa.select(t).order_by(t.c[0])).all())
        for table in (tables.session, tables.trial)
    }


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_fits_or_breaks_the_description_is_answered_as_described(app, participant, operation, mode):
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", app)
    found = {result.ok().definition.raw["operationId"]: result.ok() for result in schema.get_all_operations()}
    assert set(found) == set(OPERATIONS)
    if operation in ("view", "ahead") and mode is GenerationMode.NEGATIVE:
        return  # its only parameter is the token, which may be any text

    @QUICK
    @given(case=found[operation].as_strategy(mode), known=st.booleans())
    def send(case, known):
        if known and "token" in case.path_parameters and mode is GenerationMode.POSITIVE:
            case.path_parameters["token"] = participant.token
        before = rows(app)
        response = case.call()
        checks = CHECKS if mode is GenerationMode.POSITIVE else [*CHECKS, negative_data_rejection]
        case.validate_response(response, checks=checks)
        if response.status_code >= 400:
            assert rows(app) == before, "a refused request changed something"
            assert response.json()["error"].strip()

    send()


# --- in any order ------------------------------------------------------------------------------------------------


class Impatient(RuleBasedStateMachine):
    """Sends well-formed requests in any order, with any number, from one page load or another.

    What the server may do with each is written down here a second time, as simply as can be.
    """

    app = None
    study = None

    @initialize()
    def arrive(self):
        self.person = Participant(self.app, self.study)
        assert self.person.start().status_code == 201
        self.device_known = False
        self.over = False
        self.position = 1
        self.shown_in = None  # page load
        self.begun_in = None
        self.answers = {}
        self.replaced = 0

    @rule()
    def tell_device(self):
        response = self.person.on_session("device", DEVICE)
        assert response.status_code == (409 if self.over else 200)
        self.device_known = self.device_known or not self.over

    @rule(number=st.integers(1, 11), load=st.sampled_from("ab"))
    def begin(self, number, load):
        self.person.load = load
        response = self.person.on_trial(number, "begin")
        if self.over or not self.device_known or number != self.position or self.shown_in:
            assert response.status_code == 409
        elif self.begun_in in (None, load) or number <= self.study.protocol.practice_trials:
            assert response.get_json()["replaced"] is False
            self.begun_in = load
        else:
            assert response.get_json()["replaced"] is True
            self.replaced += 1
            self.begun_in = None
            if self.replaced > self.study.protocol.reserve_trials:
                self._advance()

    @rule(number=st.integers(1, 11), load=st.sampled_from("ab"))
    def show(self, number, load):
        self.person.load = load
        response = self.person.on_trial(number, "shown", first=exposure(), second=exposure(200))
        again = self.shown_in == load
        allowed = not self.over and number == self.position and (again or (self.begun_in == load and not self.shown_in))
        assert response.status_code == (200 if allowed else 409)
        if allowed:
            self.shown_in = load

    @rule(number=st.integers(1, 11), load=st.sampled_from("ab"), response=st.sampled_from(["first", "second"]))
    def answer(self, number, load, response):
        self.person.load = load
        status = self.person.answer(number, response).status_code
        if number in self.answers:
            assert status == (200 if self.answers[number] == response else 409)
        elif self.over or number != self.position or not self.shown_in:
            assert status == 409
        else:
            assert status == 200
            self.answers[number] = response
            self._advance()

    @rule()
    def go_on_as_the_page_does(self):
        if not self.over and self.device_known and not self.begun_in:
            self.begin(self.position, "a")
            self.show(self.position, "a")
            self.answer(self.position, "a", "second")

    @rule(really=st.integers(0, 9))
    def withdraw(self, really):
        if really:
            return
        completed = self.position > self.study.protocol.session_trials
        response = self.person.on_session("withdraw", {})
        assert response.status_code == (409 if completed else 200)
        self.over = True

    def _advance(self):
        self.position += 1
        self.begun_in = self.shown_in = None
        self.over = self.position > self.study.protocol.session_trials

    @invariant()
    def the_view_and_the_database_agree_with_what_was_acknowledged(self):
        if not hasattr(self, "person"):
            return
        view = self.person.view()
        assert view["progress"][0] == min(self.position - 1, self.study.protocol.session_trials)
        assert (view["phase"] == "done") == self.over
        if view["trial"] is not None:
            assert view["trial"]["number"] == self.position
            assert (view["trial"]["mode"] == "answer_only") == bool(self.shown_in)
        storage = self.app.extensions["turing_test"].storage
        stored = storage.read(
            lambda c: c.execute(
                sa.select(tables.trial.c.position, tables.trial.c.response)
                .join_from(tables.trial, tables.session, tables.session.c.id == tables.trial.c.session_id)
                .where(tables.trial.c.state == "answered")
                .order_by(tables.session.c.id.desc(), tables.trial.c.position)
                .where(tables.session.c.id == sa.select(sa.func.max(tables.session.c.id)).scalar_subquery())
            ).all()
        )
        assert dict(map(tuple, stored)) == self.answers


def test_no_order_of_requests_loses_doubles_or_changes_an_answer(tmp_path, database_url):
    study = make_study(tmp_path / "study", sessions_per_method=100_000)
    app = create_app(study, database_url, limits=Limits.none())
    machine = type("ImpatientHere", (Impatient,), {"app": app, "study": study})
    try:
        run_state_machine_as_test(
            machine, settings=settings(QUICK, max_examples=25, stateful_step_count=60, derandomize=True)
        )
    finally:
        app.extensions["turing_test"].storage.close()
