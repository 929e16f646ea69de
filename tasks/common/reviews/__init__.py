"""What forges say of the reviews of commits. One file for each kind of forge."""
