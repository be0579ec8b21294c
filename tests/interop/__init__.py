"""Interoperability with real programs of others, in network namespaces."""
