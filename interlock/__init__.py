"""DECISIONS. Plain Python without effects: no Prefect, no SDK, no files, no clock."""

__version__ = "0.1.0"
