"""Multimodal models: their parts, how they load, and what tells one from another."""
