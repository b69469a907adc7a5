"""Holds what every part of Pinisi may use: errors, atomic writes, the lock, settings, digests, optional libraries."""
