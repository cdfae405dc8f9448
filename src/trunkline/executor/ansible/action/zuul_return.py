"""`zuul_return`: what a job hands to its build, to the jobs that depend on it, and to the report."""

import json
import os
import tempfile

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

LISTS_OF_ZUUL = ("artifacts", "warnings", "redactions")


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        results = super().run(tmp, task_vars)
        arguments = self._task.args
        path = arguments.get("path") or task_vars["zuul"]["executor"]["result_data_file"]
        data, secret_data = {}, {}
        for target, file_key, data_key in ((data, "file", "data"), (secret_data, "secret_file", "secret_data")):
            if arguments.get(file_key):
                merge(target, self._read(arguments[file_key]))
            if arguments.get(data_key) is not None:
                merge(target, as_map(arguments[data_key], data_key))
        problem = schema_problem(data)
        if problem:
            return {**results, "failed": True, "msg": problem}
        try:
            store(path, data, secret_data)
        except (OSError, ValueError) as error:
            return {**results, "failed": True, "msg": f"{path} cannot be updated: {error}"}
        return {**results, "changed": True}

    def _read(self, name):
        try:
            with open(os.path.expanduser(name), encoding="utf-8") as handle:
                return as_map(json.load(handle), name)
        except (OSError, ValueError) as error:
            raise AnsibleError(f"{name} cannot be read: {error}") from error


def as_map(value, what):
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise AnsibleError(f"{what} is no map: {value!r}") from error
    if not isinstance(value, dict):
        raise AnsibleError(f"{what} is no map")
    return value


def merge(target, new, inside=()):
    """Merge maps deeply into `target`; lists and scalars replace, but the lists of `zuul` grow at their head."""
    for key, value in new.items():
        place = (*inside, key)
        known = target.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            merge(known, value, place)
        elif len(place) == 2 and place[0] == "zuul" and key in LISTS_OF_ZUUL and isinstance(known, list):
            target[key] = [*value, *known] if isinstance(value, list) else value
        elif len(place) == 3 and place[:2] == ("zuul", "file_comments") and isinstance(known, list):
            target[key] = [*known, *value] if isinstance(value, list) else value
        else:
            target[key] = value


def schema_problem(data):
    """Why the schema refuses `data`, or None. Only artifacts, warnings and log_url have one."""
    zuul = data.get("zuul")
    if not isinstance(zuul, dict):
        return None
    prefix = "data['zuul']"
    artifacts = zuul.get("artifacts", [])
    if not isinstance(artifacts, list):
        return f"expected a list @ {prefix}['artifacts']"
    for index, artifact in enumerate(artifacts):
        place = f"{prefix}['artifacts'][{index}]"
        if not isinstance(artifact, dict):
            return f"expected a dictionary @ {place}"
        for key in ("name", "url"):
            if key not in artifact:
                return f"required key not provided @ {place}['{key}']"
            if not isinstance(artifact[key], str):
                return f"expected str @ {place}['{key}']"
        if not isinstance(artifact.get("metadata", {}), dict):
            return f"expected a dictionary @ {place}['metadata']"
    warnings = zuul.get("warnings", [])
    if not isinstance(warnings, list):
        return f"expected a list @ {prefix}['warnings']"
    for index, warning in enumerate(warnings):
        if not isinstance(warning, str):
            return f"expected str @ {prefix}['warnings'][{index}]"
    if not isinstance(zuul.get("log_url", ""), str):
        return f"expected str @ {prefix}['log_url']"
    return None


def store(path, data, secret_data):
    """Merge into the file and replace it in one step."""
    known = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as handle:
            text = handle.read()
        known = json.loads(text) if text.strip() else {}
    for name, new in (("data", data), ("secret_data", secret_data)):
        merge(known.setdefault(name, {}), new)
    directory, name = os.path.split(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            json.dump(known, handle, indent=2, sort_keys=True)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
