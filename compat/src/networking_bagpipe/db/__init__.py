"""The database branch of networking-bagpipe."""
