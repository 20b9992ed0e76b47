"""The running ALG: its parts put together, started, changed, asked and ended."""
