"""How CD comments on pull requests: one file for each kind of forge."""
