"""What an attacker would try, one file each: shown to succeed with the defence taken out, and refused with it.

The docstring of a file `test_NAME.py` has this form; a field may go on over several lines:

    One sentence that names the threat.

    Number: 4, 23 (only for the threats that docs/threats.md counts)
    Defence: what stops it, and where it lives.
    Not defended: what this does not stop.

A test with `succeeds` in its name shows the attack at work with the defence taken out: by a switch that only the test
can reach, or by a plain tool that stands in. Every other test of the file shows it refused. Each file has both.

`python -m tests.threats` writes docs/threats.md from the files.
"""
