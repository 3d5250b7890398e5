"""An append-only record of which learners mean to complete which programs."""

__version__ = "0.1.0"
