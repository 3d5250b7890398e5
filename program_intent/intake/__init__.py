"""A whole intake: raw rows of a source are judged, stored and counted, batch by batch."""
