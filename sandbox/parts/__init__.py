"""One file per part; each has a class of the shape `sandbox.part.Part`."""
