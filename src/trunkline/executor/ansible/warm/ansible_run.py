"""Ansible inside one process: imported once, made ready by a first play, then run in forked children.

What is process-wide in Ansible and must not be inherited from the first play: the parsed command line (a singleton),
the vault's context, the display's memory of warnings, the prefix of unique ids, constants read from ansible.cfg at
import, and search paths below HOME.
"""

import json
import os
import random
import struct
import sys
import tempfile
import warnings

import ansible.cli.adhoc
import ansible.cli.playbook
import ansible.constants as constants
import ansible.plugins.loader as loaders
import ansible.utils.vars as ansible_vars
import followed_commands
import prompt_ssh
from ansible import context
from ansible.executor import action_write_locks
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.utils.context_objects import CLIArgs, GlobalCLIArgs
from ansible.utils.display import Display
from ansible.utils.multiprocessing import context as multiprocessing_context
from ansible.utils.unsafe_proxy import AnsibleUnsafe

warnings.filterwarnings("ignore", message="AnsibleCollectionFinder has already been configured")

WARM_HOME = os.environ.get("HOME", "/")

# What the callback and the action plugins of this room must know; kept out of the environment of local tasks.
SETTINGS = {}


def frame(message):
    """A message to the executor: length in four bytes, then JSON."""
    body = json.dumps(message, separators=(",", ":")).encode("utf-8", "surrogateescape")
    return struct.pack(">I", len(body)) + body


def get_ready(playbook):
    """Load what every playbook needs and, unless `playbook` is empty, run a first play."""
    followed_commands.install(SETTINGS)
    if playbook:
        warm_up(playbook)
    for loader, names in ((loaders.connection_loader, ("ssh", "local")), (loaders.become_loader, ("sudo",))):
        for name in names:
            loader.get(name, class_only=True)
    prompt_ssh.install()


def warm_up(playbook):
    """Run one play, so that plugins, their documentation and module code are loaded for good."""
    with tempfile.TemporaryFile() as sink:
        kept = [os.dup(1), os.dup(2)]
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            code = _cli(ansible.cli.playbook.PlaybookCLI, ["ansible-playbook", "-v", "-i", "localhost,", playbook])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, number in zip(kept, (1, 2), strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)
        sink.seek(0)
        text = sink.read().decode(errors="replace")
    if code != 0:
        raise RuntimeError(f"the first play ended with {code}: {text}")


def run(order, messages, document):
    """Run what the order says and return Ansible's exit code. `messages` and `document` are open descriptors."""
    forget_first_play(order["config"])
    SETTINGS.update(
        messages=messages,
        document=document,
        playbook=order.get("playbook", {}),
        options=order.get("options", {"split_streams": False, "max_output_bytes": 1 << 30}),
        starts={},
    )
    sys.modules["trunkline_settings"] = sys.modules[__name__]
    for descriptor in (messages, document):
        os.set_inheritable(descriptor, False)
    kind = order["kind"]
    if kind == "playbook":
        code = _cli(ansible.cli.playbook.PlaybookCLI, ["ansible-playbook", *order["arguments"]])
    elif kind == "adhoc":
        code = _cli(ansible.cli.adhoc.AdHocCLI, ["ansible", *order["arguments"]])
    else:
        code = freeze(order, messages)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def forget_first_play(config_file):
    GlobalCLIArgs._Singleton__instance = None
    _own_locks()
    context.CLIARGS = CLIArgs({})
    try:
        from ansible.parsing.vault import VaultSecretsContext

        VaultSecretsContext._current = None
    except ImportError:
        pass
    display = Display()
    display._warns, display._deprecations, display._errors = {}, {}, {}
    random.seed()
    tempfile._name_sequence = None
    tempfile.tempdir = None
    ansible_vars.cur_id = 0
    ansible_vars.random_int = f"{random.randint(0, 2**32 - 1):08x}"
    reread_configuration(config_file)
    move_search_paths(os.environ.get("HOME", "/"))


def _own_locks():
    """Locks of this play alone: those made before the fork are one semaphore for all plays, and a play that is killed
    while it builds a module would hold them for ever."""
    locks = action_write_locks.action_write_locks
    for name in locks:
        locks[name] = multiprocessing_context.Lock()


def reread_configuration(config_file):
    manager = constants.config
    manager._config_file = config_file
    manager._parsers = {}
    manager._parse_config_file()
    for name in manager.get_configuration_definitions():
        value = manager.get_config_value(name, variables=vars(constants))
        constants.set_constant(name, value)


def move_search_paths(home):
    for name in dir(loaders):
        loader = getattr(loaders, name)
        if not isinstance(loader, loaders.PluginLoader) or not loader.config:
            continue
        moved = [home + path[len(WARM_HOME) :] if path.startswith(WARM_HOME + "/") else path for path in loader.config]
        if moved != loader.config:
            loader.config = moved
            if any(os.path.isdir(path) for path in moved if path.startswith(home + "/")):
                loader._clear_caches()
                loader._paths = None


def _cli(kind, arguments):
    """What `ansible-playbook` does around a CLI object: errors become text on stderr and an exit code."""
    from ansible.errors import AnsibleError, AnsibleOptionsError, AnsibleParserError

    display = Display()
    try:
        return int(kind(arguments).run() or 0)
    except AnsibleOptionsError as error:
        display.error(str(error), wrap_text=False)
        return 5
    except AnsibleParserError as error:
        display.error(str(error), wrap_text=False)
        return 4
    except AnsibleError as error:
        display.error(str(error), wrap_text=False)
        return 1
    except SystemExit as error:
        return int(error.code or 0) if not isinstance(error.code, str) else 1
    except KeyboardInterrupt:
        return 99
    except Exception as error:
        import traceback

        display.error(f"Unexpected Exception, this is probably a bug: {error}", wrap_text=False)
        traceback.print_exc()
        return 250


def freeze(order, messages):
    """Evaluate variables once: {host: {name: value}} goes to the executor. Values that cannot be evaluated are left out."""
    from ansible.inventory.manager import InventoryManager
    from ansible.utils.vars import load_extra_vars
    from ansible.vars.manager import VariableManager

    context.CLIARGS = CLIArgs({"extra_vars": tuple(order["extra_vars"]), "tags": ("all",), "skip_tags": ()})
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[order["inventory"]])
    manager = VariableManager(loader=loader, inventory=inventory)
    manager._extra_vars = load_extra_vars(loader)
    frozen = {}
    for name, wanted in order["names"].items():
        host = inventory.get_host(name)
        known = manager.get_vars(host=host, include_delegate_to=False)
        templar = Templar(loader=loader, variables=known)
        values = {}
        for variable in wanted:
            try:
                values[variable] = plain(templar.template(known[variable]))
            except Exception as error:
                print(f"{name}: {variable} is left out: {error}")
        frozen[name] = values
    write_all(messages, frame({"type": "frozen", "hosts": frozen}))
    return 0


def write_all(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def plain(value):
    """JSON, with text that must never be evaluated again wrapped as {"__unsafe__": text}."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        marked = any(mark in value for mark in ("{{", "{%", "{#")) or isinstance(value, AnsibleUnsafe)
        return {"__unsafe__": str(value)} if marked else str(value)
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    return str(value)
