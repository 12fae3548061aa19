"""What every session that is over says to the dashboard, so that nobody reads all trials again."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, empty; every session with trials is due, so that the server's start writes all of them."""
    op.create_table(
        "summary",
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("durations_ms", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_summary_session_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", name="pk_summary"),
    )
    op.execute("UPDATE session SET check_at = 0 WHERE method IS NOT NULL")


def downgrade() -> None:
    """Studies go forward only: going back would lose answers."""
    raise NotImplementedError("A study's database is not downgraded; restore a backup instead.")
