"""From a commit of the environment repository to a cluster in that state. Builds and pushes nothing."""
