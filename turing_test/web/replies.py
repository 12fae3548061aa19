"""What the JSON interface answers: the same whether a request is answered by itself or together with others."""

from __future__ import annotations

from typing import Any

from analysis.trials.columns import PLACES
from turing_test.sessions.presentation import Answered, Begun
from turing_test.sessions.snapshot import Snapshot
from turing_test.sessions.validity import broken_rule, has_rules, rule_counts
from turing_test.sessions.views import image_addresses, view
from turing_test.web.context import Context

__all__ = ["answer_reply", "begin_reply", "session_view", "shown_reply"]


def session_view(server: Context, token: str, snapshot: Snapshot, root: str) -> dict[str, Any]:
    """Where a session stands, as the page is told.

    Parameters
    ----------
    server : Context
    token : str
    snapshot : Snapshot
    root : str
        The path that the study is served under, "" for none.
    """
    rule = None
    protocol = server.study.protocol
    if snapshot.state == "completed" and has_rules(protocol):
        counts = server.storage.read(lambda connection: rule_counts(connection, [snapshot.id]))
        rule = broken_rule(protocol, counts.get(snapshot.id, {}))
    return view(server.study, token, snapshot, rule, root=root)


def begin_reply(server: Context, token: str, begun: Begun, root: str) -> dict[str, Any]:
    """What the page is told before it shows a trial: the images, or where the session stands when others took their place."""
    if begun.replaced:
        return {"replaced": True, "view": session_view(server, token, begun.snapshot, root)}
    trial, n_images = begun.snapshot.upcoming[0], server.study.protocol.images_per_trial
    return {"replaced": False, **dict(zip(PLACES, image_addresses(token, trial, n_images, root=root), strict=False))}


def shown_reply() -> dict[str, Any]:
    """What the page is told when display times are stored."""
    return {"stored": True}


def answer_reply(server: Context, token: str, answered: Answered, root: str) -> dict[str, Any]:
    """What the page is told after an answer: feedback where there is any, and what comes next."""
    feedback = None
    if told := answered.feedback:
        feedback = {"correct": told.correct, **({"real": told.real} if told.fake is None else {"fake": told.fake})}
    return {"feedback": feedback, **session_view(server, token, answered.snapshot, root)}
