"""The revisions of networking-bagpipe, Liberty to 2025.1."""
