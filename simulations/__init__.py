"""Simulations of many peers in virtual time: an event heap, a network that misbehaves, scenarios with invariants."""
