"""The book's machinery: runs of notebooks, their records, the verdicts, and what a page must not have."""

import sys

sys.modules.setdefault("rfc3987_syntax", None)  # jsonschema's grammar of addresses: seconds to import, never used here
