"""Values and arithmetic that every other room speaks: no torch, no database, no images."""
