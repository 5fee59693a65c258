"""Families: few parameters and a budget in, a schedule out. One family per file."""
