"""Connects ranks: processes that find each other, groups, messages, and the watch over them."""
