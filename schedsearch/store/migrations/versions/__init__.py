"""One module per revision, in order; a revision that has been released never changes."""
