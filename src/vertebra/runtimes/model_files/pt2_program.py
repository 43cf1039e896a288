"""Validation of the program (JSON) in a ``.pt2`` file, without torch.

PyTorch generates Python source from the program and executes it, and evaluates symbolic sizes as Python. Names can therefore carry
code, and an operator can be any function of PyTorch. Everything that Vertebra's exports do not contain is refused.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Callable, Iterator
from typing import Any

NAMES = frozenset({"name", "as_name", "forward_arg_names"})  # they become variables in Python source
REFUSED = frozenset({"as_graph", "as_operator", "as_custom_obj", "custom_obj", "token", "as_string_to_argument"})
DEVICES = frozenset({"cpu"})
OPERATOR = re.compile(r"torch\.ops\.(aten|vertebra|torchvision)\.(\w+)\.\w+")
FILES = frozenset({"from_file", "save"})  # operators that read or write a file
ASSERTIONS = ("torch.ops.aten._assert", "torch.ops.aten._functional_assert")  # their strings are messages
PYTHON = frozenset(
    {
        f"_operator.{name}"
        for name in ("getitem", "add", "sub", "mul", "truediv", "floordiv", "mod", "neg", "pos", "pow")
    }
    | {f"_operator.{name}" for name in ("lt", "le", "gt", "ge", "eq", "ne", "and_", "or_", "not_")}
    | {f"math.{name}" for name in ("ceil", "floor", "trunc", "sqrt", "log2")}
    | {f"torch.sym_{name}" for name in ("int", "float", "max", "min", "not", "ite", "sum")}
)
ARGUMENT = re.compile(r"\w*")
DOTTED = re.compile(r"[\w.]*")
WORD = re.compile(r"[A-Za-z_0-9]{0,32}|[A-Za-z,. ]{1,80}->[A-Za-z. ]{0,40}")  # a mode, or the equation of einsum
NUMBER = re.compile(r"-?(Infinity|NaN)")
FUNCTIONS = frozenset(
    {
        "Symbol",
        "Integer",
        "Rational",
        "Float",
        "Add",
        "Mul",
        "Pow",
        "Max",
        "Min",
        "Mod",
        "PythonMod",
        "Where",
        "Identity",
    }
    | {"FloorDiv", "CleanDiv", "CeilDiv", "IntTrueDiv", "FloatTrueDiv", "ModularIndexing", "PowByNatural"}
    | {"CeilToInt", "FloorToInt", "TruncToInt", "TruncToFloat", "RoundToInt", "ToFloat", "floor", "ceiling"}
    | {"Equality", "Unequality", "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "And", "Or", "Not"}
    | {"Eq", "Ne", "Lt", "Le", "Gt", "Ge"}
)
POWERS = frozenset({"Pow", "PowByNatural", "FloatPow"})
SYMBOL = re.compile(r"[a-z]{1,4}\d{1,6}")
FRACTION = re.compile(r"-?\d{1,20}(\.\d{1,30})?(e[+-]?\d{1,3})?")
ASSUMPTIONS = frozenset({"positive", "integer", "nonnegative", "real", "precision"})
LONGEST_EXPRESSION = 4000
LARGEST = 2**63
LARGEST_EXPONENT = 8
SYNTAX = (
    ast.Expression,
    ast.Call,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.keyword,
    ast.BinOp,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.Pow,
    ast.UnaryOp,
    ast.USub,
    ast.UAdd,
    ast.Compare,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
    ast.Eq,
    ast.NotEq,
)


class UnsafeFile(ValueError):
    """The file contains something that Vertebra does not write; the message names it."""


def sanitize_program(text: bytes) -> bytes:
    """Validates a program, and removes its guards (Python source) and stack traces (which name local folders).

    Args:
        text: the JSON of ``torch.export.save``.

    Raises:
        UnsafeFile: it is damaged, or contains more than a graph of operators.
    """
    try:
        program = json.loads(text)
        module = program["graph_module"]
        program["guards_code"] = []
        module["metadata"] = {}
        module["treespec_namedtuple_fields"] = {}
        module["module_call_graph"] = [entry for entry in module["module_call_graph"] if entry["fqn"] == ""]
        for node in module["graph"]["nodes"]:
            node["metadata"] = {}
        for key, value, node in _values(program):
            _check(key, value, node)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise error if isinstance(error, UnsafeFile) else UnsafeFile("its graph is damaged") from error
    return json.dumps(program).encode()


def _values(program: Any) -> Iterator[tuple[str, Any, str]]:
    """Every key, value and operator of the enclosing node, at any depth; values in a list have the list's key."""
    waiting = [("", program, "")]
    while waiting:
        key, value, node = waiting.pop()
        if isinstance(value, dict):
            node = str(value.get("target", node))
            argument = "arg" in value and "name" in value  # names an argument in the operator's schema, not a variable
            for name, item in value.items():
                if DOTTED.fullmatch(name) is None:
                    raise UnsafeFile(f"it contains an invalid name, {_short(name)}")
                waiting.append(("argument" if argument and name == "name" else name, item, node))
        elif isinstance(value, list):
            waiting += [(key, item, node) for item in value]
        yield key, value, node


def _check(key: str, value: Any, node: str) -> None:
    """Raises `UnsafeFile` where a value is not allowed under its key."""
    if key in REFUSED or (key == "custom_obj_values" and value):
        raise UnsafeFile(f"it contains '{key}', which exported models do not contain")
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise UnsafeFile("it contains a number that is too large")
    if isinstance(value, str):
        CHECKS.get(key, _is_dotted)(value) if key != "as_string" else _is_word(value, node)


def _is_operator(name: str) -> None:
    match = OPERATOR.fullmatch(name)
    if name not in PYTHON and (match is None or match[2] in FILES):
        raise UnsafeFile(f"it calls {_short(name)}, which exported models do not contain")


def _is_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UnsafeFile(f"it contains an invalid name, {_short(name)}")


def _is_argument(name: str) -> None:
    if ARGUMENT.fullmatch(name) is None:
        raise UnsafeFile(f"it contains an invalid name, {_short(name)}")


def _is_dotted(text: str) -> None:
    if DOTTED.fullmatch(text) is None:
        raise UnsafeFile(f"it contains an invalid name, {_short(text)}")


def _is_word(text: str, node: str) -> None:
    if WORD.fullmatch(text) is None and not node.startswith(ASSERTIONS):
        raise UnsafeFile(f"it contains the text {_short(text)}, which no operator takes")


def _is_device(name: str) -> None:
    if name not in DEVICES:
        raise UnsafeFile(f"it is for the device {_short(name)}, and .pt2 files run on the CPU")


def _is_number(text: str) -> None:
    if NUMBER.fullmatch(text) is None:
        raise UnsafeFile(f"it contains an invalid number, {_short(text)}")


def _is_version(text: str) -> None:
    if re.fullmatch(r"[\w.+<= -]{0,60}", text) is None:
        raise UnsafeFile(f"it contains an invalid version, {_short(text)}")


def _is_tree(text: str) -> None:
    """The nesting of inputs or outputs: tuples, lists and dicts with plain keys."""
    for key, value, _ in _values(json.loads(text)):
        if key == "type" and value not in (None, "builtins.tuple", "builtins.list", "builtins.dict"):
            raise UnsafeFile(f"its inputs or outputs are of the type {_short(str(value))}")
        if key == "context" and value not in (None, "null"):
            keys = json.loads(value)
            if not isinstance(keys, list) or not all(
                isinstance(key_name, str) and DOTTED.fullmatch(key_name) for key_name in keys
            ):
                raise UnsafeFile("its inputs or outputs are nested in an unknown way")


def _is_expression(text: str) -> None:
    """A symbolic size: arithmetic on symbols and numbers. PyTorch evaluates it as Python."""
    if len(text) > LONGEST_EXPRESSION:
        raise UnsafeFile("a symbolic size is too long")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # the last three where it is nested too deeply
        raise UnsafeFile(f"a symbolic size is invalid, {_short(text)}") from None
    nodes = list(ast.walk(tree))
    nested = any(_is_power(inner) for node in nodes if _is_power(node) for inner in ast.walk(node) if inner is not node)
    if nested or not all(_is_arithmetic(node) for node in nodes):
        raise UnsafeFile(f"a symbolic size is not arithmetic, {_short(text)}")


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        plain = isinstance(node.value, bool) or (isinstance(node.value, int) and abs(node.value) < LARGEST)
        text = node.value if isinstance(node.value, str) else ""
        return plain or isinstance(node.value, float) or bool(SYMBOL.fullmatch(text) or FRACTION.fullmatch(text))
    if isinstance(node, ast.Name):
        return node.id in FUNCTIONS or SYMBOL.fullmatch(node.id) is not None
    if isinstance(node, ast.keyword):
        return (
            node.arg in ASSUMPTIONS and isinstance(node.value, ast.Constant) and str(node.value.value) in ("True", "53")
        )
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and (not _is_power(node) or _is_small(node.args[-1:]))
    if isinstance(node, ast.BinOp) and _is_power(node):
        return _is_small([node.right])
    return isinstance(node, SYNTAX)


def _is_power(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in POWERS
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)


def _is_small(exponent: list[ast.expr]) -> bool:
    """Whether an exponent is a small whole number; larger ones could take forever to evaluate."""
    for node in exponent:
        values = node.args if isinstance(node, ast.Call) and len(node.args) == 1 else [node]
        operand = values[0].operand if isinstance(values[0], ast.UnaryOp) else values[0]
        return (
            isinstance(operand, ast.Constant)
            and isinstance(operand.value, int)
            and abs(operand.value) <= LARGEST_EXPONENT
        )
    return False


def _short(text: str) -> str:
    """A quoted excerpt for a message of one line."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


CHECKS: dict[str, Callable[[str], None]] = {
    "target": _is_operator,
    "expr_str": _is_expression,
    "as_strings": lambda text: _is_word(text, ""),
    "in_spec": _is_tree,
    "out_spec": _is_tree,
    "type": _is_device,
    "torch_version": _is_version,
    "argument": _is_argument,
    "as_float": _is_number,
    "as_floats": _is_number,
    **dict.fromkeys(NAMES, _is_name),
}
