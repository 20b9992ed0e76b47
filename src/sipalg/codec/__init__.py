"""Bytes to structure with byte spans: SIP, SDP, IPv4 and UDP. Pure; imports nothing of the project."""
