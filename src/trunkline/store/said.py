"""What was said to whom: an intent before each report, so that one that may have been sent is not sent again."""

from __future__ import annotations

from trunkline.store.database import Connection


async def intend(conn: Connection, report: str) -> str:
    """Before a report is sent: "new" if nobody tried, "perhaps" if a try was not finished, "said" if it was sent."""
    row = await (await conn.execute("select done from reports_said where report = %s for update", (report,))).fetchone()
    if row is not None:
        return "said" if row["done"] else "perhaps"
    await conn.execute("insert into reports_said (report) values (%s) on conflict do nothing", (report,))
    return "new"


async def done(conn: Connection, report: str) -> None:
    await conn.execute("update reports_said set done = true where report = %s", (report,))


async def forget(conn: Connection, older_than_s: float) -> None:
    await conn.execute(
        "delete from reports_said where begun < clock_timestamp() - make_interval(secs => %s)", (older_than_s,)
    )
