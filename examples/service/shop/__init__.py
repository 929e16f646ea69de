"""A small shop front: the service that the demo brings from a commit into a cluster."""

__version__ = "1.0.0"
