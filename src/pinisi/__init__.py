"""Pinisi: multilingual language models with large vocabularies, the vocabulary split over every pipeline rank."""

__version__ = "0.1.0"
