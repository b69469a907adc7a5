"""Measures what `pinisi bench` names. Every command prints a table and takes --json FILE."""
