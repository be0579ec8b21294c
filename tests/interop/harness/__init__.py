"""What the interoperability tests stand on: hosts in network namespaces, and real BGP programs that run on them.

Nothing here imports `bagpipe`: our own programs are driven as black boxes, like everybody else's.
"""
