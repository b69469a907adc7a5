"""Searches shorter orders of a schedule's passes for given costs and limits of memory, and states a bound beside them.

Reading order: network, dispatch, listing, backfill, improve, bound, find.
"""

from pinisi.schedule.search.bound import lower_bound
from pinisi.schedule.search.find import SearchResult, search

__all__ = ["SearchResult", "lower_bound", "search"]
