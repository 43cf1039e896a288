"""YAML as plain values, from files and the command line; nothing in it is executed, and the expansion of aliases is limited.

YAML is read by the rules of version 1.2: ``1e-3`` is a number, and ``yes`` and ``no`` are texts.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vertebra.errors import ConfigError, shortened

MAX_CHARACTERS = 1 << 20  # of a file; a config with ImageNet's 21,000 classes has half of that
MAX_EXPANDED = 1 << 22  # characters after all aliases are written out


def parse_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ConfigError: it is no YAML, too long or too deep, a key occurs twice, or its aliases expand too much.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"longer than {MAX_CHARACTERS} characters")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _expanded_size(node, {})
        return loader.construct_document(node)
    except RecursionError:
        raise ConfigError("nested too deeply") from None
    except yaml.YAMLError as error:
        raise ConfigError(" ".join(str(error).split())) from None
    except ConfigError:
        raise
    except (
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:  # an invalid number, date or tagged value
        raise ConfigError(f"a value cannot be read ({shortened(str(error))})") from None


def _expanded_size(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of characters of a node with all aliases expanded. Each node is visited once.

    Args:
        node: the node.
        known: sizes of visited nodes by identity; 0 while a node is being visited.
    """
    done = known.get(id(node))
    if done == 0:
        raise ConfigError("an alias refers to a node around itself")
    if done is not None:
        return done
    known[id(node)] = 0
    size = 1
    if isinstance(node, yaml.ScalarNode):
        size += len(node.value)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_expanded_size(entry, known) for entry in node.value)
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node)
        size += sum(_expanded_size(part, known) for pair in node.value for part in pair)
    if size > MAX_EXPANDED:
        raise ConfigError(f"its aliases expand to more than {MAX_EXPANDED} characters; write the values out")
    known[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    keys = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in keys:
                raise ConfigError(f"the key '{key.value}' occurs twice, line {key.start_mark.line + 1}; leave one out")
            keys.add((key.tag, key.value))


def read_raw(path: Path) -> dict[str, Any]:
    """A YAML file as plain values.

    Raises:
        ConfigError: no such file, no YAML, or no mapping.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(MAX_CHARACTERS + 1)
        raw = parse_yaml(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a config is a mapping with 'data', 'model' and 'train'")
    return raw


def override(raw: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Plain values with ``key.key=value`` assignments applied; values are read as YAML.

    A key may lead into a short form, which is then written out: ``data.ignore_index`` over ``data: PATH``,
    ``model.neck.channels`` over ``model.neck: fpn``. An entry of a list is named by its index: ``data.train.0.path``.

    Raises:
        ConfigError: an assignment without '=', or a path through something that is no mapping.
    """
    result = dict(raw)
    for assignment in assignments:
        key, value = parse_assignment(assignment)
        try:
            assign(result, key, value)
        except ConfigError as error:
            raise ConfigError(f"override '{shortened(assignment)}': {error}") from None
    return result


def parse_assignment(assignment: str) -> tuple[str, Any]:
    """The dotted key and the value of ``key.key=value``.

    Raises:
        ConfigError: there is no '=', or the value is no YAML.
    """
    key, sign, text = assignment.partition("=")
    if not sign or not key:
        raise ConfigError(f"'{shortened(assignment)}' is no override; write key=value, for example train.epochs=5")
    try:
        return key, parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(
            f"override '{shortened(assignment)}': '{shortened(text)}' is no YAML value: {error}"
        ) from None


def assign(raw: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value at a dotted key, with copies of the mappings and lists on its path; see `override`.

    Raises:
        ConfigError: the key leads through something that is no mapping.
    """
    short = "path" if key.startswith("data.") else "name"  # the key that a text in place of a mapping is short for
    container: Any = raw
    keys = key.split(".")
    for parent, after in itertools.pairwise(keys):
        inner = _get(container, parent)
        if inner is None:
            inner = {}
        elif isinstance(inner, str | Path):
            inner = {short: str(inner)}
        elif isinstance(inner, list) and after.isdecimal():
            inner = list(inner)
        elif isinstance(inner, dict):
            inner = dict(inner)
        else:
            raise ConfigError(f"'{parent}' is no mapping" + _hint(parent, inner))
        _put(container, parent, inner)
        container = inner
    _get(container, keys[-1])
    _put(container, keys[-1], value)


def _hint(parent: str, inner: Any) -> str:
    return f", it is a list: name one of its entries, such as {parent}.0" if isinstance(inner, list) else ""


def _get(container: Any, key: str) -> Any:
    if isinstance(container, dict):
        return container.get(key)
    if int(key) >= len(container):
        raise ConfigError(f"there is no entry {key} in a list of {len(container)}; the first is 0")
    return container[int(key)]


def _put(container: Any, key: str, value: Any) -> None:
    container[key if isinstance(container, dict) else int(key)] = value


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers and booleans; in PyYAML's 1.1, ``1e-3`` is a text and ``yes`` is true."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)

_Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
