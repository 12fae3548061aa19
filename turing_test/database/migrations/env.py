"""What alembic runs: the migrations, on the connection and inside the transaction of the caller."""

from alembic import context

from turing_test.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
