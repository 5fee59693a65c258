"""Running a study: the only loop, and where evaluation happens."""
