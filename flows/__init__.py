"""ORDER. A flow reads like a table of contents; effects are in `tasks`, decisions in `interlock`."""
