"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("platform", sa.String(length=16), nullable=False),
        sa.Column("person_hash", sa.String(length=64), nullable=True),
        sa.Column("arrival_hash", sa.String(length=64), nullable=True),
        sa.Column("arrival", sa.Text(), nullable=True),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("other_method", sa.Text(), nullable=True),
        sa.Column("seed", sa.String(length=32), nullable=False),
        sa.Column("n_trials", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("completion_code", sa.String(length=32), nullable=False),
        sa.Column("consent_hash", sa.String(length=64), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("refresh_hz", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
        sa.UniqueConstraint("label", name="uq_session_label"),
        sa.UniqueConstraint("person_hash", name="uq_session_person_hash"),
        sa.UniqueConstraint("token_hash", name="uq_session_token_hash"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_session_method", "session", ["method"], unique=False)
    op.create_index("ix_session_arrival_hash", "session", ["arrival_hash"], unique=False)
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("manifest", sa.String(length=64), nullable=False),
        sa.Column("protocol", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("unlocked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_study"),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_event_session_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
    )
    op.create_index("ix_event_session_id", "event", ["session_id"], unique=False)
    op.create_table(
        "link",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_link_session_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_link"),
        sa.UniqueConstraint("token_hash", name="uq_link_token_hash"),
    )
    op.create_table(
        "trial",
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("other_method", sa.Text(), nullable=True),
        sa.Column("real_position", sa.String(length=8), nullable=True),
        sa.Column("first_sha", sa.String(length=64), nullable=True),
        sa.Column("second_sha", sa.String(length=64), nullable=True),
        sa.Column("first_token", sa.String(length=32), nullable=False),
        sa.Column("second_token", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("load", sa.String(length=64), nullable=True),
        sa.Column("begun_at", sa.Double(), nullable=True),
        sa.Column("shown_at", sa.Double(), nullable=True),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("first_on_ms", sa.Double(), nullable=True),
        sa.Column("first_off_ms", sa.Double(), nullable=True),
        sa.Column("first_frames", sa.Integer(), nullable=True),
        sa.Column("first_gap_ms", sa.Double(), nullable=True),
        sa.Column("first_clock", sa.String(length=16), nullable=True),
        sa.Column("second_on_ms", sa.Double(), nullable=True),
        sa.Column("second_off_ms", sa.Double(), nullable=True),
        sa.Column("second_frames", sa.Integer(), nullable=True),
        sa.Column("second_gap_ms", sa.Double(), nullable=True),
        sa.Column("second_clock", sa.String(length=16), nullable=True),
        sa.Column("interval_ms", sa.Double(), nullable=True),
        sa.Column("flags", sa.Text(), nullable=True),
        sa.Column("response", sa.String(length=8), nullable=True),
        sa.Column("response_ms", sa.Double(), nullable=True),
        sa.Column("replaced_by", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_trial_session_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "number", name="pk_trial"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_trial_session_id_position", "trial", ["session_id", "position"], unique=False)


def downgrade() -> None:
    """Studies go forward only: going back would lose answers."""
    raise NotImplementedError("A study's database is not downgraded; restore a backup instead.")
