"""A participant's page, played by Flask's test client."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from analysis.trials.columns import PLACES
from tests.turing_test.studies import IMAGE_MS
from turing_test.study.study_folder import Study
from turing_test.web.steps import read_step, take_steps

DEVICE = {
    "refresh_hz": 60.0, "device_pixel_ratio": 1, "color_gamut": "srgb", "color_scheme": "light", "forced_colors": False, "forced_dark": True,
    "width": 1280, "height": 800, "touch": False, "user_agent_family": "Firefox",
}  # fmt: skip


def exposure(on: float = 100.0, ms: float = IMAGE_MS, **more: Any) -> dict[str, Any]:
    """As a display of 60 Hz shows an image for so long."""
    frames = max(1, round(ms * 60 / 1000))
    return {"on_ms": on, "off_ms": on + ms, "frames": frames, "largest_gap_ms": 17.0, "hidden": False, **more}


def proof_of(png: bytes) -> str:
    """The eight bytes before the last chunk and the checksum before that."""
    return png[-24:-16].hex()


class Participant:
    """Does what the page does."""

    def __init__(self, app: Flask, study: Study) -> None:
        self.app, self.study = app, study
        self.client = app.test_client()
        self.token = ""
        self.load = "load-1"
        self.consent_hash = app.extensions["turing_test"].page["consent_hash"]

    def post(self, path: str, body: object) -> TestResponse:
        return self.client.post(path, json=body)

    def start(
        self, query: dict[str, str] | None = None, *, consent: bool = True, link: str | None = None, **more: Any
    ) -> TestResponse:
        body = {"query": query or {}, "link": link, "consent": consent, "consent_hash": self.consent_hash, **more}
        response = self.post("/api/sessions", body)
        if response.status_code == 201:
            self.token = response.get_json()["token"]
        return response

    def on_session(self, action: str, body: object) -> TestResponse:
        return self.post(f"/api/s/{self.token}/{action}", body)

    def on_trial(self, number: int, action: str, **body: Any) -> TestResponse:
        return self.on_session(f"trials/{number}/{action}", {"load": self.load, **body})

    def view(self) -> dict[str, Any]:
        response = self.client.get(f"/api/s/{self.token}")
        assert response.status_code == 200, response.text
        return response.get_json()

    def enter(self, **more: Any) -> dict[str, Any]:
        assert self.start(**more).status_code == 201
        return self.on_session("device", DEVICE).get_json()

    def show(self, number: int) -> None:
        begun = self.on_trial(number, "begin")
        assert begun.status_code == 200, begun.text
        if begun.get_json()["replaced"]:
            assert self.on_trial(number, "begin").get_json()["replaced"] is False
        protocol = self.study.protocol
        later = (protocol.image_ms + protocol.gap_ms) * protocol.sequential
        places = PLACES[: protocol.images_per_trial]
        sides = {place: exposure(100.0 + k * later, protocol.image_ms) for k, place in enumerate(places)}
        response = self.on_trial(number, "shown", **sides, proofs=self.proofs())
        assert response.status_code == 200, response.text

    def proofs(self) -> list[str]:
        """What stands at the end of the files of the current trial."""
        images = self.view()["trial"]["images"]
        return [proof_of(self.client.get(address).data) for address in images]

    def answer(self, number: int, response: str = "first", response_ms: float = 400.0) -> TestResponse:
        return self.on_trial(number, "answer", response=response, response_ms=response_ms)

    def play(self, response: str = "first") -> dict[str, Any]:
        """The rest of the session; the last view."""
        view = self.view()
        while view["phase"] != "done":
            number = view["trial"]["number"]
            if view["trial"]["mode"] == "show":
                self.show(number)
            view = self.answer(number, response).get_json()
        return view


class GroupedParticipant(Participant):
    """A participant whose steps are taken past Flask, as the server does; counts those that were not."""

    ordinary = 0

    def on_trial(self, number: int, action: str, **body: Any) -> TestResponse:
        path = f"/api/s/{self.token}/trials/{number}/{action}"
        server = self.app.extensions["turing_test"]
        raw = json.dumps({"load": self.load, **body}).encode()
        asked = read_step(server, path, "", "application/json", raw)
        told = None if asked is None else take_steps(server, [asked])[0]
        response = super().on_trial(number, action, **body)  # again: everything is acknowledged again
        if told is None:
            self.ordinary += 1
            return response
        status, headers, content = told
        assert (status, json.loads(content)) == (response.status_code, response.get_json())
        assert headers == list(response.headers)
        return response
