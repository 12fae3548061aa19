"""A participant's page, played by Flask's test client."""

from __future__ import annotations

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from turing_test.study.study_folder import Study

DEVICE = {
    "refresh_hz": 60.0, "device_pixel_ratio": 1, "color_gamut": "srgb", "color_scheme": "light", "forced_colors": False,
    "width": 1280, "height": 800, "touch": False, "user_agent_family": "Firefox",
}  # fmt: skip


def exposure(on: float = 100.0, off: float = 1100.0, **more: Any) -> dict[str, Any]:
    return {"on_ms": on, "off_ms": off, "frames": 60, "largest_gap_ms": 17.0, "hidden": False, **more}


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
        sides = {"first": exposure(), "second": exposure(1700, 2700)}
        if self.study.protocol.images_per_trial == 1:
            del sides["second"]
        response = self.on_trial(number, "shown", **sides)
        assert response.status_code == 200, response.text

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
