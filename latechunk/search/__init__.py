"""Search an index: options, filters, fusion of rankings, and what becomes of candidates."""

from latechunk.search.options import Fusion, SearchKeywords, SearchMode, SearchOptions

__all__ = ["Fusion", "SearchKeywords", "SearchMode", "SearchOptions"]
