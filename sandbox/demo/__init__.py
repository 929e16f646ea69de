"""The main job, end to end, on real parts: what `make demo` shows."""
