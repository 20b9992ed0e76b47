"""Packets on disk: captures in and out, and the router's work on them offline."""
