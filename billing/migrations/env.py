"""What Alembic runs: the migrations over the connection that `Database.migrate` hands in."""

from alembic import context

import billing.premium.schema  # noqa: F401  # its tables belong to the metadata, too
from billing.schema import metadata

# The transaction is the caller's: a migration that fails leaves the schema as it was.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
