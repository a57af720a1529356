"""Options and collection rules for both suites."""
