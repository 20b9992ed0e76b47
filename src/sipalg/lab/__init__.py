"""Phones, NAT router and servers in network namespaces, to try sipalg and to test it on one machine."""
