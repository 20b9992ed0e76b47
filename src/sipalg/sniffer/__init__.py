"""`/tool sniffer`: captures on the router, in a process of its own; no packet of the ALG's waits for it."""
