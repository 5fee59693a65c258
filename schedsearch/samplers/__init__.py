"""What to ask next: samplers read the history of a study and name the schedules to try."""
