"""States that candidates share, kept so that the layers before a cut run once."""
