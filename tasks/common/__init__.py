"""What both halves touch: git, host configuration, the render process, Prefect's API."""
