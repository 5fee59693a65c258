"""The version of schedsearch."""

VERSION = "0.1.0"
