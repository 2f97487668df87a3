"""The book's machinery: runs of notebooks, their records, the verdicts, and what a page must not have."""

import sys

# jsonschema's grammar of addresses takes seconds to import and is never used here; None stops an import.
sys.modules.setdefault("rfc3987_syntax", None)  # pyright: ignore[reportArgumentType]
