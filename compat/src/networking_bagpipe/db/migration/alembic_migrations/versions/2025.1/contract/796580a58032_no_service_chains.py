"""Drop the tables of networking-bagpipe's service chain driver, where they are.

Revision ID: 796580a58032
Revises: 0a2ee5cbb1a5
"""

import sqlalchemy as sa
from alembic import op

revision = "796580a58032"
down_revision = "0a2ee5cbb1a5"
depends_on = ("d2c2dcb6c2d4",)

TABLES = ("sfc_bagpipe_ppg_rtnn_associations", "sfc_bagpipe_chain_hops")


def upgrade():
    """Drop the tables."""
    there = set(sa.inspect(op.get_bind()).get_table_names())
    for table in TABLES:
        if table in there:
            op.drop_table(table)
