"""Grades documents by how much they are like the good texts that a user names, with a classifier for each language."""
