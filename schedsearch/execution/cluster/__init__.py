"""What a cluster is made of, and how it is spoken of; nothing here imports ray at import."""
