"""The order in which a session shows the blocks of images of its study."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty: no earlier study has blocks of images."""
    op.add_column("session", sa.Column("block_order", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Studies go forward only: going back would lose answers."""
    raise NotImplementedError("A study's database is not downgraded; restore a backup instead.")
