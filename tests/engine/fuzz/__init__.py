"""Differential fuzz of the runtime: random calls of reduced models against the masked model."""
