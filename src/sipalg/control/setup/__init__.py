"""Installing the ALG as a service."""
