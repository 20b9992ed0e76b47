"""The daemon's outer side: its control socket and what it answers."""
