"""Live packets in and out: the kernel's queue, maps and connection tracker, and the loop to the engine."""
