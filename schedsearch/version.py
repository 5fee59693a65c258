"""The version of schedsearch."""

VERSION = "0.1.0"

RUNTIME = "reduction/2"
"""Version of the runtime's arithmetic; a change that moves any score must change it."""
