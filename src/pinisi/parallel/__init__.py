"""Ranks and what passes between them: processes that find each other, groups, messages, and the watch over them."""
