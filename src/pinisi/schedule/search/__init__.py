"""Shorter orders of a schedule's passes for given costs and limits of memory, beside a bound.

Reading order: network, dispatch, listing, backfill, improve, bound, find.
"""

from pinisi.schedule.search.bound import lower_bound
from pinisi.schedule.search.find import Found, search

__all__ = ["Found", "lower_bound", "search"]
