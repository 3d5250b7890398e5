"""Outside data as raw rows; no judgement here."""
