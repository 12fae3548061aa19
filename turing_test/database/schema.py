"""The tables of a study's database; `turing_test.database.migrations` makes them.

Times are seconds since 1970 (UTC) as double precision. Integer keys never leave the server: participants know
random tokens, of which only digests are stored for sessions and links, and the export shows random labels.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)

__all__ = ["event", "images_shown", "link", "metadata", "places_taken", "session", "study", "summary", "trial"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
DIGEST = String(64)
"""A SHA-256 in hexadecimal."""

_ROOM = {"fillfactor": 70}
"""Rows that change several times: with room on their page, no index has to learn of it."""

study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("manifest", DIGEST, nullable=False),
    Column("protocol", DIGEST, nullable=False),
    Column("version", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("unlocked_at", Double),
    Column("running", Text),
    Column("admission", String(16), nullable=False, server_default="open"),
)

link = Table(
    "link",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token_hash", DIGEST, nullable=False, unique=True),
    Column("session_id", Integer, ForeignKey("session.id", ondelete="SET NULL")),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double, index=True),
)
"""One-time links."""

session = Table(
    "session",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token_hash", DIGEST, nullable=False, unique=True),
    Column("label", String(16), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("platform", String(16), nullable=False),
    Column("person_hash", DIGEST, unique=True),
    Column("arrival_hash", DIGEST, index=True),
    Column("arrival", Text),
    Column("verified", Boolean, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("method", Text),
    Column("other_method", Text),
    Column("seed", String(32), nullable=False),
    Column("n_trials", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("completion_code", String(32), nullable=False),
    Column("consent_hash", DIGEST),
    Column("device", Text),
    Column("refresh_hz", Double),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("holds_place", Boolean, nullable=False, server_default=false()),
    Column("check_at", Double, index=True),
    Column("block_order", Integer),
    Index(None, "method"),
    postgresql_with=_ROOM,
)
"""One row per participant; `position` is the trial to do next, from 1.

`holds_place`: the session is among those of `places_taken`, its trials that are `counted` among those of `images_shown`.
`check_at`: when that may have changed, and must be looked at before somebody is assigned; empty when it cannot change.
`block_order`: which of the study's orders of blocks of images it has (`turing_test.sessions.assignment.block_orders`).
"""

trial = Table(
    "trial",
    metadata,
    Column("session_id", Integer, ForeignKey("session.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("position", Integer),
    Column("phase", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("image", Text, nullable=False),
    Column("method", Text),
    Column("other_method", Text),
    Column("real_position", String(8)),
    Column("first_sha", DIGEST),
    Column("second_sha", DIGEST),
    Column("first_token", String(32), nullable=False),
    Column("second_token", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("load", String(64)),
    Column("begun_at", Double),
    Column("shown_at", Double),
    Column("answered_at", Double),
    Column("first_on_ms", Double),
    Column("first_off_ms", Double),
    Column("first_frames", Integer),
    Column("first_gap_ms", Double),
    Column("first_clock", String(16)),
    Column("second_on_ms", Double),
    Column("second_off_ms", Double),
    Column("second_frames", Integer),
    Column("second_gap_ms", Double),
    Column("second_clock", String(16)),
    Column("interval_ms", Double),
    Column("flags", Text),
    Column("response", String(8)),
    Column("response_ms", Double),
    Column("replaced_by", Integer),
    Column("counted", Boolean, nullable=False, server_default=false()),
    Column("further", Text),
    Index(None, "session_id", "position"),
    postgresql_with=_ROOM,
)
"""One row per trial; `position` is what the participant counts, empty for the unused reserve.

`further`: the third and further images of a trial that shows several at once (`turing_test.sessions.further_images`).
"""

places_taken = Table(
    "places_taken",
    metadata,
    Column("simulated", Boolean, primary_key=True),
    Column("judged", Text, primary_key=True),
    Column("times", Integer, nullable=False),
    postgresql_with=_ROOM,
)
"""How many sessions hold a place, by what they judge and the order of their blocks of images (as JSON)."""

images_shown = Table(
    "images_shown",
    metadata,
    Column("simulated", Boolean, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("image", Text, primary_key=True),
    Column("times", Integer, nullable=False),
    postgresql_with=_ROOM,
)
"""How often sessions that hold a place show an image in the test, by arm (as JSON) and kind of trial."""

summary = Table(
    "summary",
    metadata,
    Column("session_id", Integer, ForeignKey("session.id", ondelete="CASCADE"), primary_key=True),
    Column("content", Text, nullable=False),
    Column("durations_ms", LargeBinary, nullable=False),
)
"""What a session that is over says to whoever looks at all of them (`turing_test.sessions.summaries`)."""

event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session_id", Integer, ForeignKey("session.id", ondelete="CASCADE"), index=True),
    Column("at", Double, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("detail", Text),
)
"""What happened to a session, for the dashboard's timeline and the log."""
