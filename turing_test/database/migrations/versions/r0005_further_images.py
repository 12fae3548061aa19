"""The third and further images of trials that show several at once."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty: no earlier study shows more than two."""
    op.add_column("trial", sa.Column("further", sa.Text(), nullable=True))


def downgrade() -> None:
    """Studies go forward only: going back would lose answers."""
    raise NotImplementedError("A study's database is not downgraded; restore a backup instead.")
