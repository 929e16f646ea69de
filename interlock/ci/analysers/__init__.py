"""Analysers of application source code, one file each: what one reads, how it is started, what its report says.

To add another: a file beside bandit.py with an Analyser, and its name in ANALYSERS. How a program is confined, that
it is given every file and no file's name, and that each has a verdict is the same for all (tasks.ci.code).
"""

from __future__ import annotations

from interlock.ci.analysers.analyser import Analyser
from interlock.ci.analysers.bandit import BANDIT

ANALYSERS: tuple[Analyser, ...] = (BANDIT,)
