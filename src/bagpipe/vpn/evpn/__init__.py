"""EVPN instances: attachments and routes in, desired records and originated routes out (RFC 7432, RFC 8365)."""
