"""The control socket: who answers on it, who asks through it, and the events that it streams."""
