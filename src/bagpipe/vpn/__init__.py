"""VPN instances: attachments and routes in, desired forwarding state and originated routes out. No I/O, no clock."""
