"""Use cases: what the command line and the service ask for, composed from the rooms below."""
