"""Where participants come from, behind one interface: a plain link, Amazon Mechanical Turk, Prolific.

Each platform has words of its own for who comes and how they leave; they are translated here, at the border, and
nowhere else. Nothing here posts tasks or pays anybody.

References
----------
.. [1] Amazon Mechanical Turk Developer Guide, "ExternalQuestion": the query of the page, ``externalSubmit``.
.. [2] Prolific documentation, "Recording Prolific IDs", "Securing the URL parameters" and "Completion paths".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as Interface
from urllib.parse import urlencode

from evalkit.errors import InputError
from turing_test.sessions.signed_arrivals import PROLIFIC_TOKEN, SignedArrival
from turing_test.study.protocol import Protocol
from turing_test.study.recruiting_files import PROLIFIC_QUERY

__all__ = [
    "PLATFORMS",
    "QUERY_NAMES",
    "SUBMIT_HOSTS",
    "TOOK_PART",
    "Arrival",
    "Ending",
    "Form",
    "Recruiter",
    "Voucher",
    "check_admitted",
    "find_recruiter",
]

SUBMIT_HOSTS = ("https://www.mturk.com", "https://workersandbox.mturk.com")
"""The only two places that an MTurk assignment is ever submitted to (MTurk's documentation of ExternalQuestion)."""

NOT_ACCEPTED = "ASSIGNMENT_ID_NOT_AVAILABLE"  # MTurk's assignmentId while a worker only looks at the task
PROLIFIC_DONE = "https://app.prolific.com/submissions/complete"
MTURK_QUERY = ("assignmentId", "hitId", "workerId", "turkSubmitTo")
QUERY_NAMES = (*PROLIFIC_QUERY, PROLIFIC_TOKEN, *MTURK_QUERY)
"""All that platforms put into the address; whatever else stands there is not looked at."""

Voucher = Callable[[str], SignedArrival]
"""Checks the token in an address; raises `InputError` when it is not valid."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Who comes, in our words.

    Attributes
    ----------
    platform : {"link", "mturk", "prolific"}
    person : str or None
        What identifies the person on that platform; only a digest under the study's secret is stored. None for an open
        link, and for a one-time link, which is an identity of its own.
    verified : bool
        Whether something vouches that this is one person: a one-time link does, and so does an address that Prolific has
        signed. What a platform writes into an address unsigned, anybody can write there; it is claimed.
    preview : bool
        A look at the task before accepting it: no session, no stimuli.
    place : str or None
        The platform's id of this one participation: whoever brings it again goes on where they were.
    handles : mapping of str to str
        What the platform must get back at the end, or calls this participation by when it is paid; kept with the session,
        so never the person.
    may_be_reassigned : bool
        Whether the platform gives the same person a new `place` when they return the task and take it again.
    proof : str or None
        Digest of the signed token that vouches; it lets one browser in.
    """

    platform: str
    person: str | None = field(repr=False)
    verified: bool
    preview: bool = False
    place: str | None = field(default=None, repr=False)
    handles: Mapping[str, str] = field(default_factory=dict, repr=False)
    may_be_reassigned: bool = False
    proof: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Form:
    """A form that the page POSTs to the platform."""

    action: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Ending:
    """How a participant leaves; at most one of the first three is given.

    Attributes
    ----------
    code : str or None
        A code to show.
    redirect : str or None
        A page to go to.
    form : Form or None
        A form to submit.
    give_back : bool
        The task is to be returned to the platform, which leaves no mark there.
    """

    code: str | None = None
    redirect: str | None = None
    form: Form | None = None
    give_back: bool = False

    def described(self) -> dict[str, Any]:
        """As the page is told."""
        form = None if self.form is None else {"action": self.form.action, "fields": dict(self.form.fields)}
        return {"code": self.code, "redirect": self.redirect, "form": form, "give_back": self.give_back}


class Recruiter(Interface):
    """One platform."""

    @property
    def platform(self) -> str:
        """Its name in the exported table."""

    def arrive(
        self, query: Mapping[str, str], link: str | None, protocol: Protocol, vouch: Voucher | None = None
    ) -> Arrival:
        """Read who comes from the query of the page's address and the one-time link.

        Parameters
        ----------
        query : mapping of str to str
        link : str or None
        protocol : Protocol
        vouch : callable, optional
            Checks Prolific's token, where the study has Prolific's keys; nobody of Prolific then comes without one.

        Raises
        ------
        InputError
            When the query is not what the platform sends.
        """

    def leave(self, outcome: str, code: str, handles: Mapping[str, str], protocol: Protocol) -> Ending:
        """How to send somebody back.

        Parameters
        ----------
        outcome : str
            ``failed_checks`` (completed, but left out by a declared rule), `TOOK_PART`, or one of
            `turing_test.sessions.states.ENDED`. It must be decided and stored.
        code : str
            The session's own completion code.
        handles : mapping
            `Arrival.handles`.
        protocol : Protocol
        """

    def frame_ancestors(self, protocol: Protocol) -> tuple[str, ...]:
        """Sites that may show the page in a frame; empty for none."""


TOOK_PART = "took_part"
"""Outcome of somebody whose session was another participation: there is none of this one, and nothing to pay."""

DONE = ("completed", "failed_checks")
"""Outcomes of those who did all that was asked; they get their code on every platform."""


class Link:
    """A plain link: open (anybody, unverified), or one-time (one person)."""

    platform = "link"

    def arrive(
        self, query: Mapping[str, str], link: str | None, protocol: Protocol, vouch: Voucher | None = None
    ) -> Arrival:
        """A one-time link stands for a person; an open one says nothing about who comes."""
        return Arrival(platform=self.platform, person=None, verified=link is not None)

    def leave(self, outcome: str, code: str, handles: Mapping[str, str], protocol: Protocol) -> Ending:
        """Show the code."""
        return Ending(code=code) if outcome in DONE else Ending()

    def frame_ancestors(self, protocol: Protocol) -> tuple[str, ...]:
        """None."""
        return ()


class MTurk:
    """Amazon Mechanical Turk, ExternalQuestion: the page runs in a frame, and its end is a form."""

    platform = "mturk"

    def arrive(
        self, query: Mapping[str, str], link: str | None, protocol: Protocol, vouch: Voucher | None = None
    ) -> Arrival:
        """``assignmentId, hitId, workerId, turkSubmitTo``; a preview has no worker."""
        assignment = query.get("assignmentId", "")
        if assignment == NOT_ACCEPTED:
            return Arrival(platform=self.platform, person=None, verified=False, preview=True)
        _check_ids(query, ("assignmentId", "workerId"), "Mechanical Turk")
        submit_to = query.get("turkSubmitTo", "").removesuffix("/")
        if submit_to not in SUBMIT_HOSTS:
            raise InputError(
                f"turkSubmitTo is not a site of Mechanical Turk; allowed are {' and '.join(SUBMIT_HOSTS)}."
            )
        _check_expected("hitId", query.get("hitId", ""), protocol.mturk_hits, "Mechanical Turk")
        handles = {"assignmentId": assignment, "hitId": query.get("hitId", ""), "turkSubmitTo": submit_to}
        return Arrival(
            platform=self.platform,
            person=query["workerId"],
            verified=False,
            place=assignment,
            handles=handles,
            may_be_reassigned=True,
        )

    def leave(self, outcome: str, code: str, handles: Mapping[str, str], protocol: Protocol) -> Ending:
        """Submit the assignment when all was done; otherwise the worker returns it, which leaves no mark."""
        submit_to = handles.get("turkSubmitTo")
        if outcome not in DONE or submit_to not in SUBMIT_HOSTS:
            return Ending(give_back=True)
        # MTurk refuses a submission without at least one field besides the assignment.
        fields = {"assignmentId": handles["assignmentId"], "code": code}
        return Ending(form=Form(f"{submit_to}/mturk/externalSubmit", fields))

    def frame_ancestors(self, protocol: Protocol) -> tuple[str, ...]:
        """MTurk's own sites, for a study that admits its workers."""
        return protocol.mturk_frame_hosts if self.platform in protocol.platforms else ()


class Prolific:
    """Prolific: identities in the query, and a completion code for each outcome in a redirect at the end."""

    platform = "prolific"

    def arrive(
        self, query: Mapping[str, str], link: str | None, protocol: Protocol, vouch: Voucher | None = None
    ) -> Arrival:
        """``PROLIFIC_PID, STUDY_ID, SESSION_ID``, and with Prolific's keys the token that holds the same, signed."""
        signed = None if vouch is None else vouch(query.get(PROLIFIC_TOKEN, ""))
        if signed is not None:
            if any(query.get(name, value) != value for name, value in signed.ids.items()):
                raise InputError(
                    "This address is not the one that Prolific signed; please open the study from Prolific again."
                )
            query = signed.ids
        _check_ids(query, PROLIFIC_QUERY, "Prolific")
        _check_expected("STUDY_ID", query["STUDY_ID"], protocol.prolific_studies, "Prolific")
        return Arrival(
            platform=self.platform,
            person=query["PROLIFIC_PID"],
            verified=signed is not None,
            place=query["SESSION_ID"],
            handles={"SESSION_ID": query["SESSION_ID"]},
            proof=None if signed is None else signed.proof,
        )

    def leave(self, outcome: str, code: str, handles: Mapping[str, str], protocol: Protocol) -> Ending:
        """Go back with the code that the study file has for the outcome; without one, the person returns the submission."""
        paying = (protocol.prolific_completed, protocol.prolific_failed_checks)  # nobody is paid a second time
        codes = {
            "completed": protocol.prolific_completed,
            "failed_checks": protocol.prolific_failed_checks or protocol.prolific_completed,
            "declined": protocol.prolific_declined,
            "withdrawn": protocol.prolific_declined,
            "screened_out": protocol.prolific_screened_out,
            "incompatible": protocol.prolific_incompatible,
            "incomplete": protocol.prolific_incomplete,
            "full": protocol.prolific_full,
            "expired": protocol.prolific_expired,
            TOOK_PART: "" if protocol.prolific_declined in paying else protocol.prolific_declined,
        }
        configured = codes.get(outcome, "")
        if configured:
            return Ending(redirect=f"{PROLIFIC_DONE}?{urlencode({'cc': configured})}")
        return Ending(code=code) if outcome in DONE else Ending(give_back=True)

    def frame_ancestors(self, protocol: Protocol) -> tuple[str, ...]:
        """None: Prolific opens a tab."""
        return ()


PLATFORMS: Mapping[str, Recruiter] = {recruiter.platform: recruiter for recruiter in (Link(), MTurk(), Prolific())}
"""All platforms by name; a new one is a class and an entry here."""


def find_recruiter(query: Mapping[str, str]) -> Recruiter:
    """The platform that a query comes from.

    Examples
    --------
    >>> find_recruiter({"PROLIFIC_PID": "5f1"}).platform
    'prolific'
    >>> find_recruiter({}).platform
    'link'
    """
    if any(name in query for name in (*PROLIFIC_QUERY, PROLIFIC_TOKEN)):
        return PLATFORMS["prolific"]
    # An assignmentId alone is no sign: CloudResearch Connect sends one of its own.
    if any(name in query for name in ("workerId", "turkSubmitTo")) or query.get("assignmentId") == NOT_ACCEPTED:
        return PLATFORMS["mturk"]
    return PLATFORMS["link"]


def check_admitted(platform: str, protocol: Protocol) -> None:
    """Refuse people of a platform that the study file does not name: its ids are easily invented.

    Raises
    ------
    InputError
    """
    if platform != "link" and platform not in protocol.platforms:
        raise InputError("This study takes nobody from that platform; please open the link that you were given.")


def _check_expected(name: str, value: str, expected: tuple[str, ...], platform: str) -> None:
    if expected and value not in expected:
        raise InputError(f"{name} is not that of this study; please open the study from {platform} again.")


def _check_ids(query: Mapping[str, str], names: tuple[str, ...], platform: str) -> None:
    for name in names:
        if not _ID.fullmatch(query.get(name, "")):
            raise InputError(
                f"{name} is missing or not as {platform} sends it; please open the study from {platform} again."
            )
