"""Farthing beside the gateways that a user could pick instead, on one machine in one run: `make bench-peers`."""
