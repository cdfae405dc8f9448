"""How pipelines fare that are to fall silent after too many failures in a row."""

from __future__ import annotations

from trunkline.store.database import Connection


async def note_result(
    conn: Connection, tenant: str, pipeline: str, generation: int, failed: bool | None, limit: int
) -> bool:
    """Count a result (None: not one). True if the pipeline was disabled before it. A new layout begins anew."""
    row = await (
        await conn.execute(
            """
            insert into pipeline_failures as f (tenant, pipeline, generation) values (%s, %s, %s)
            on conflict (tenant, pipeline) do update set
                failures = case when f.generation = excluded.generation then f.failures else 0 end,
                disabled = f.disabled and f.generation = excluded.generation,
                generation = excluded.generation
            returning failures, disabled
            """,
            (tenant, pipeline, generation),
        )
    ).fetchone()
    assert row is not None
    if failed is not None and not row["disabled"]:
        failures = row["failures"] + 1 if failed else 0
        await conn.execute(
            "update pipeline_failures set failures = %s, disabled = %s where tenant = %s and pipeline = %s",
            (failures, failures >= limit, tenant, pipeline),
        )
    return bool(row["disabled"])
