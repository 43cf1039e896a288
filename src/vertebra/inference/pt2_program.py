"""What the program of a ``.pt2`` file may hold; without torch.

PyTorch makes Python source out of a program and runs it, and evaluates its symbolic sizes as Python too. So a name in it can carry
code, and an operator can be any function of PyTorch. Here everything is refused that an export of Vertebra does not need.
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


class Refused(ValueError):
    """Something in a file that Vertebra does not write; the message says what."""


def clean_program(text: bytes) -> bytes:
    """A program without what is only for its authors (stack traces, which name local folders; guards, which are Python source),
    checked.

    Args:
        text: the JSON of ``torch.export.save``.

    Raises:
        Refused: it holds something that is no graph of operators.
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
        raise error if isinstance(error, Refused) else Refused("its graph is damaged") from error
    return json.dumps(program).encode()


def _values(program: Any) -> Iterator[tuple[str, Any, str]]:
    """Each key and value, however deep: a value in a list has the list's key. With them the operator of the node they are of."""
    waiting = [("", program, "")]
    while waiting:
        key, value, node = waiting.pop()
        if isinstance(value, dict):
            node = str(value.get("target", node))
            argument = "arg" in value and "name" in value  # its name is one of the operator's schema
            for name, own in value.items():
                if DOTTED.fullmatch(name) is None:
                    raise Refused(f"it holds a name that is none, {_short(name)}")
                waiting.append(("argument" if argument and name == "name" else name, own, node))
        elif isinstance(value, list):
            waiting += [(key, own, node) for own in value]
        yield key, value, node


def _check(key: str, value: Any, node: str) -> None:
    """Whether one value may stand there."""
    if key in REFUSED or (key == "custom_obj_values" and value):
        raise Refused(f"it holds '{key}', which an exported model does not need")
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise Refused("it holds a number that is too large")
    if isinstance(value, str):
        CHECKS.get(key, _is_dotted)(value) if key != "as_string" else _is_word(value, node)


def _is_operator(name: str) -> None:
    found = OPERATOR.fullmatch(name)
    if name not in PYTHON and (found is None or found[2] in FILES):
        raise Refused(f"it calls {_short(name)}, which an exported model does not need")


def _is_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise Refused(f"it holds a name that is none, {_short(name)}")


def _is_dotted(text: str) -> None:
    if DOTTED.fullmatch(text) is None:
        raise Refused(f"it holds a name that is none, {_short(text)}")


def _is_word(text: str, node: str) -> None:
    if WORD.fullmatch(text) is None and not node.startswith(ASSERTIONS):
        raise Refused(f"it holds the text {_short(text)}, which no operator needs")


def _is_device(name: str) -> None:
    if name not in DEVICES:
        raise Refused(f"it is for the device {_short(name)}, and an exported model runs on the CPU")


def _is_number(text: str) -> None:
    if NUMBER.fullmatch(text) is None:
        raise Refused(f"it holds a number that is none, {_short(text)}")


def _is_version(text: str) -> None:
    if re.fullmatch(r"[\w.+<= -]{0,60}", text) is None:
        raise Refused(f"it holds a version that is none, {_short(text)}")


def _is_tree(text: str) -> None:
    """How inputs or outputs are nested: tuples, lists and dicts with plain keys."""
    for key, value, _ in _values(json.loads(text)):
        if key == "type" and value not in (None, "builtins.tuple", "builtins.list", "builtins.dict"):
            raise Refused(f"its inputs or outputs are of the type {_short(str(value))}")
        if key == "context" and value not in (None, "null"):
            keys = json.loads(value)
            if not isinstance(keys, list) or not all(isinstance(own, str) and DOTTED.fullmatch(own) for own in keys):
                raise Refused("its inputs or outputs are nested in a way that an exported model does not need")


def _is_expression(text: str) -> None:
    """A symbolic size: sums, products and the like of symbols and whole numbers. PyTorch evaluates it as Python."""
    if len(text) > LONGEST_EXPRESSION:
        raise Refused("a symbolic size is too long")
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        raise Refused(f"a symbolic size is none, {_short(text)}") from None
    if not all(_is_arithmetic(node) for node in ast.walk(tree)):
        raise Refused(f"a symbolic size is no arithmetic, {_short(text)}")


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
        power = isinstance(node.func, ast.Name) and node.func.id in ("Pow", "PowByNatural")
        return isinstance(node.func, ast.Name) and (not power or _is_small(node.args[-1:]))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return _is_small([node.right])
    return isinstance(node, SYNTAX)


def _is_small(exponent: list[ast.expr]) -> bool:
    """Whether an exponent is a small whole number: powers of powers would take for ever."""
    for node in exponent:
        values = node.args if isinstance(node, ast.Call) and len(node.args) == 1 else [node]
        own = values[0].operand if isinstance(values[0], ast.UnaryOp) else values[0]
        return isinstance(own, ast.Constant) and isinstance(own.value, int) and abs(own.value) <= LARGEST_EXPONENT
    return False


def _short(text: str) -> str:
    """A text from a file, for a message of one line."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


CHECKS: dict[str, Callable[[str], None]] = {
    "target": _is_operator,
    "expr_str": _is_expression,
    "as_strings": lambda text: _is_word(text, ""),
    "in_spec": _is_tree,
    "out_spec": _is_tree,
    "type": _is_device,
    "torch_version": _is_version,
    "as_float": _is_number,
    "as_floats": _is_number,
    **dict.fromkeys(NAMES, _is_name),
}
