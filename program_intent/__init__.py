"""An append-only record of which learners mean to complete which programs."""

import logging

__version__ = "0.1.0"

# As libraries do: where a host configures no logging, Python would print errors to standard error.
logging.getLogger(__name__).addHandler(logging.NullHandler())
