"""What Alembic runs to migrate, on the connection and in the transaction of `store/migrate`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="schema_version")
context.run_migrations()
