"""Alembic's entry point: one connection, one transaction for every migration."""

import sqlalchemy
from alembic import context

uri = context.config.attributes["dburi"].replace("postgresql://", "postgresql+psycopg://", 1)
engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
