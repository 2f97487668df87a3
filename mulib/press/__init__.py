"""The book's machinery: runs of notebooks, their records, the verdicts, and what a page must not have."""
