"""Tests of pinisi.vocabulary."""
