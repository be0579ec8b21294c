"""Import paths of networking-bagpipe, answered by bagpipe. Cannot be installed beside networking-bagpipe."""

from importlib import metadata

try:
    _reference = metadata.version("networking-bagpipe")
except metadata.PackageNotFoundError:
    pass
else:
    raise ImportError(
        f"networking-bagpipe {_reference} and bagpipe-bgpvpn-compat are both installed, and both are the package "
        "networking_bagpipe: uninstall both, then install the one that is wanted"
    )
