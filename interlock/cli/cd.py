"""The command line's way into CD: loaded only by the commands that need a CD host."""
