"""Every real part of a delivery pipeline, on this machine: for the demo, the tests and the developer.

Nothing of the product imports this package.
"""
