"""The `interlock` command: parses, calls, prints. Imports one half, and only when a command needs it."""
