"""One race as one HTML page: no script, nothing fetched, readable from disk."""

from typing import Any


def report_page(record: dict[str, Any]) -> str:
    """Return the page of a race's record."""
    return f"<!doctype html><title>{record['id']}</title>"
