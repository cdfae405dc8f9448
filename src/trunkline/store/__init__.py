"""The store: all durable state, in one PostgreSQL.

What may live here: the schema and its migrations, the queries in plain SQL (one file a table family), the inbox and
outbox, notifications. It is the only room with SQL. What may not: decisions; a query module never asks what should
happen, only what is.

Nouns: a *database* (pool of connections), a *transaction* (the unit in which a decision and its effects are written),
an *inbox* (events that wait for an owner, in order), a *task* (work handed to any process by procrastinate, deferred
inside the transaction that caused it: the outbox).

Data comes from the services and goes back to them as dict rows; hints about changes go out by NOTIFY and are never
the truth.
"""

from trunkline.store.database import Connection, Database, listen, notify


def migrate(dburi: str) -> None:
    """See `migrate.migrate`; imported when it is called, since few processes do."""
    from trunkline.store.migrate import migrate as run

    run(dburi)


__all__ = ["Connection", "Database", "listen", "migrate", "notify"]
