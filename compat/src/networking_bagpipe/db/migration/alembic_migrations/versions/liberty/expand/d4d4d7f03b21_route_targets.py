"""The table of route targets that networking-bagpipe's type driver of Liberty to Pike allocated.

Nothing has used it since Queens. It is made so that a database is the same whoever made it.

Revision ID: d4d4d7f03b21
Revises: start_networking_bagpipe
"""

import sqlalchemy as sa
from alembic import op
from neutron_lib.db import model_base

revision = "d4d4d7f03b21"
down_revision = "start_networking_bagpipe"
branch_labels = ("expand",)


def upgrade():
    """Make the table."""
    op.create_table(
        "ml2_route_target_allocations",
        sa.Column("rt_nn", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("allocated", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("rt_nn"),
        **model_base.BASEV2.__table_args__,
    )
