"""Alembic's entry: runs on the connection that `Database.migrate` hands over, in its transaction."""

from alembic import context

from tre.secure.database import tables

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=tables.metadata)
context.run_migrations()
