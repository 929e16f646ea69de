"""Whatever reads bytes from outside, given hostile ones: one of our errors or a value, in bounded time and memory.

Hypothesis makes the bytes: good ones, cut, joined and peppered with what has broken readers before. `make test` tries a
few of each, always the same; `make fuzz` as many new ones as EXAMPLES says. What was found stays as a test in
test_findings.py.
"""
