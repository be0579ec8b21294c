"""Where networking-bagpipe made the tables of its service chain driver, which 2025.1 dropped.

Revision ID: d2c2dcb6c2d4
Revises: d4d4d7f03b21
"""

revision = "d2c2dcb6c2d4"
down_revision = "d4d4d7f03b21"


def upgrade():
    """Nothing: the tables would be dropped by 796580a58032."""
