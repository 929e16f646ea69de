"""Claims about speed, measured beside a peer on the same cluster in the same run."""
