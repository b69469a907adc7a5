"""Turns a table into instructions, proves that they run, and says how long they take."""
