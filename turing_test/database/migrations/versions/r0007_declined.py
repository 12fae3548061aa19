"""Nothing that a platform calls somebody by who declined: the page says that nothing about them was stored."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Remove the platforms' numbers of those who declined, which earlier versions kept; the row, which counts them, stays."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":  # overwrite what is removed
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
    op.execute("UPDATE session SET arrival = NULL WHERE state = 'declined'")


def downgrade() -> None:
    """Studies go forward only: going back would lose answers."""
    raise NotImplementedError("A study's database is not downgraded; restore a backup instead.")
