"""Where the branches of networking-bagpipe start.

Revision ID: start_networking_bagpipe
Revises:
"""

revision = "start_networking_bagpipe"
down_revision = None


def upgrade():
    """Nothing."""
