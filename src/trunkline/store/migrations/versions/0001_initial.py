"""The initial schema: every file of store/schema."""

from alembic import op

from trunkline.store.migrate import schema_files

revision = "0001"
down_revision = None


def upgrade() -> None:
    for path in schema_files():
        op.get_bind().exec_driver_sql(path.read_text())
