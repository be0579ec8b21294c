"""Where the contract branch starts.

Revision ID: 0a2ee5cbb1a5
Revises: start_networking_bagpipe
"""

revision = "0a2ee5cbb1a5"
down_revision = "start_networking_bagpipe"
branch_labels = ("contract",)


def upgrade():
    """Nothing."""
