"""Who holds a place, and what those show, as counters: a start need not look through all sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the counters, empty; every session with trials is due, so that the server's start counts all of them."""
    op.add_column("session", sa.Column("holds_place", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("session", sa.Column("check_at", sa.Double(), nullable=True))
    op.create_index("ix_session_check_at", "session", ["check_at"], unique=False)
    op.add_column("trial", sa.Column("counted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_link_used_at", "link", ["used_at"], unique=False)
    op.create_table(
        "places_taken",
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("judged", sa.Text(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("simulated", "judged", name="pk_places_taken"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "images_shown",
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("simulated", "arm", "kind", "image", name="pk_images_shown"),
        postgresql_with={"fillfactor": 70},
    )
    op.execute("UPDATE session SET check_at = 0 WHERE method IS NOT NULL")


def downgrade() -> None:
    """Studies go forward only: going back would lose answers."""
    raise NotImplementedError("A study's database is not downgraded; restore a backup instead.")
