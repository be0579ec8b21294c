"""What servers tell agents older than Queens about BGP VPNs."""
