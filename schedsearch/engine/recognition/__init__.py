"""Recognising a function or object again, in another process and after edits."""

from schedsearch.engine.recognition.follow import Recognition, recognise

__all__ = ["Recognition", "recognise"]
