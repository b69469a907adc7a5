"""Shorter orders of a schedule's passes for given costs and limits of memory, beside a bound.

Reading order: network, dispatch, listing, backfill, improve, bound, find.
"""

from pinisi.schedule.search.bound import lower_bound
from pinisi.schedule.search.find import SearchResult, search

__all__ = ["SearchResult", "lower_bound", "search"]
