"""How a study is run, which may change while it runs, and whether it takes anybody now."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both to the one row of the study."""
    op.add_column("study", sa.Column("running", sa.Text(), nullable=True))
    op.add_column("study", sa.Column("admission", sa.String(length=16), nullable=False, server_default="open"))


def downgrade() -> None:
    """Studies go forward only: going back would lose answers."""
    raise NotImplementedError("A study's database is not downgraded; restore a backup instead.")
