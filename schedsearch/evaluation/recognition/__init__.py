"""Recognising a function or object again, in another process and after edits."""

from schedsearch.evaluation.recognition.follow import Recognition, recognise

__all__ = ["Recognition", "recognise"]
