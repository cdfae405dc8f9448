"""The ssh connection notices at once that its process has ended.

With ControlPersist the first ssh of a playbook leaves a master behind that keeps stderr open; Ansible then waits for up
to two seconds for words that never come. The selector given to it here looks at the process while it waits.
"""

import selectors
import subprocess
import sys
import time
import types

STEP_S = 0.005
LAST_WORDS_S = 1  # the wait of Ansible that is meant: after the end of stdout


def install():
    """Change the loaded ssh connection plugin."""
    plugin = sys.modules["ansible.plugins.connection.ssh"]
    started = []

    class Process(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started[:] = [self]

    class Selector(selectors.DefaultSelector):
        def select(self, timeout=None):
            if timeout != LAST_WORDS_S or not started:
                return super().select(timeout)
            end = time.monotonic() + timeout
            while started[0].poll() is None and time.monotonic() < end:
                events = super().select(STEP_S)
                if events:
                    return events
            return super().select(0)

    plugin.selectors = types.SimpleNamespace(DefaultSelector=Selector, EVENT_READ=selectors.EVENT_READ)
    names = {name: getattr(subprocess, name) for name in dir(subprocess) if not name.startswith("_")}
    plugin.subprocess = types.SimpleNamespace(**{**names, "Popen": Process})
