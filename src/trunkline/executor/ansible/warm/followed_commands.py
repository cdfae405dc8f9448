"""`command` and `shell`: Ansible's own action, which also tells the module under which name to write its output.

The action is changed in place, so that the short name and the collection's name behave alike.
"""

from ansible.plugins.action import command as stock


def install(settings):
    """Wrap the action's `run`. `settings` is looked at when a task runs: empty outside of a playbook."""
    own_run = stock.ActionModule.run

    def run(self, tmp=None, task_vars=None):
        if settings:
            options = settings["options"]
            self._task.args["zuul_log_id"] = log_id(self, settings, task_vars or {})
            self._task.args["zuul_ansible_split_streams"] = bool(options["split_streams"])
            self._task.args["zuul_output_max_bytes"] = options["max_output_bytes"]
            self._task.args["zuul_no_log"] = bool(self._play_context.no_log)
        return own_run(self, tmp, task_vars)

    stock.ActionModule.run = run


def log_id(action, settings, task_vars):
    """None when nobody follows: loops, async and delegated tasks, other connections than ssh, or switched off."""
    task = action._task
    unfollowed = task.async_val or task.delegate_to or task.loop is not None or task.loop_with
    if unfollowed or action._connection.transport != "ssh" or task_vars.get("zuul_console_disabled"):
        return None
    count = settings["starts"].get(task._uuid, 1)
    return f"{task._uuid}-{count}-{task_vars['inventory_hostname']}"
