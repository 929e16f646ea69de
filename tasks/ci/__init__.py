"""What CI touches: Docker, Trivy, the registry, and the environment repository to add a release."""
