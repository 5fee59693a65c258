"""The reduction runtime and what evaluates a schedule with it."""
