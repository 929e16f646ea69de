"""What only CI decides: the gate, the identity of a build, the next release. Never imports `interlock.cd`."""
