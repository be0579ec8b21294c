"""What servers know of agents."""
