"""What CI and CD share: the repository's format, releases, evidence, trailers, verification rules, rendering."""
