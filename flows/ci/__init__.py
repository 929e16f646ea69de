"""From a source commit to one commit in the environment repository. Knows no cluster."""
