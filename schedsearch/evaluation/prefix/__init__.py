"""States that candidates share, kept so that the layers before a drop run once."""
