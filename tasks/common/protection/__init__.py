"""How forges guard a branch: asked, and set. One file for each kind of forge."""
