"""Fuzzing: the rules that hold for any bytes, the driver that looks for bytes which break them, and its seeds."""
