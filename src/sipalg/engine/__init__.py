"""State and decisions: what to do with a message, what the kernel is told. Pure; imports the codec only."""
