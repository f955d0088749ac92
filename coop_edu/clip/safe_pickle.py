"""Reads the pickle inside a file of torch without running it.

A pickle is a program for a small machine, which can call whatever function the file names.  Here its instructions are
only read (pickletools.genops runs nothing), and carried out by a machine that has fewer of them: it makes texts,
numbers and plain containers, notes down tensors and modules, and refuses every other name.  Nothing is imported or
called.  An instruction costs a fixed amount of work and memory, whatever it says, and there is a limit to their number;
keys are texts or whole numbers, because to look up another key can take any time.

torch.load(weights_only=True) is no replacement: it refuses the schedulers in the authors' files and TorchScript's
modules, and trusts sizes, keys and nesting.

Leaves out: the archive around the pickle and the tensors' numbers (tensor_file.py).
"""

from __future__ import annotations

import pickletools
import re
from typing import Any, NamedTuple

MOST_INSTRUCTIONS = 1_000_000  # a file of the authors' has about a thousand, a large CLIP with its optimizer 100,000
STORAGES = ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
CONTAINERS = {
    ("collections", "OrderedDict"),
    ("collections", "Counter"),
    ("collections", "defaultdict"),
    *((builtins, kind) for builtins in ("builtins", "__builtin__") for kind in ("dict", "set")),
    ("torch", "Size"),
}
TENSOR, PARAMETER = ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter")
UNWANTED = re.compile(r"(torch\.optim|dassl\.optim|torch\.jit\._pickle)(\.\w+)*")  # modules of what is not kept
TORCHSCRIPT = re.compile(r"__torch__(\.\w+)*")  # the modules of a compiled model
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS_AND_TEXTS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
PUT, GET = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
_MARK = object()


class Refused(Exception):
    """The file asks for something that a file of tensors has no need of."""


class SavedName(NamedTuple):
    """A class or function, by name only."""

    module: str
    name: str


class SavedTensor(NamedTuple):
    """What a tensor is to be made of, as the file says; not checked yet."""

    arguments: tuple


class SavedObject:
    """An object of a class that is not wanted, or a module of TorchScript with its attributes."""

    def __init__(self) -> None:
        self.state: Any = None


def read_pickle(data: bytes) -> Any:
    """What a pickle describes: containers, texts, numbers, SavedTensors and SavedObjects.

    Raises Refused for what no file of tensors needs; ValueError, IndexError, KeyError, TypeError or AttributeError for
    a damaged one.

    >>> import pickle
    >>> read_pickle(pickle.dumps({"epoch": 50, "lr": [0.1, None]}, protocol=2))
    {'epoch': 50, 'lr': [0.1, None]}
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any  # of which type, its instruction says
    for count, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        if count == MOST_INSTRUCTIONS:
            raise Refused(f"it has more than {MOST_INSTRUCTIONS:,} instructions")
        name = instruction.name
        if name == "STOP":
            return stack.pop()
        if name in PUT:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in GET:
            stack.append(memo[argument])
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in NUMBERS_AND_TEXTS:
            stack.append(argument)
        elif name not in ("PROTO", "FRAME"):
            _step(name, argument, stack)
    raise ValueError("it has no end")


def _step(name: str, argument: Any, stack: list[Any]) -> None:
    """One instruction that makes, or fills, what stands on the stack."""
    match name:
        case "MARK":
            stack.append(_MARK)
        case "EMPTY_DICT":
            stack.append({})
        case "EMPTY_LIST" | "EMPTY_SET":  # nobody asks what a set holds
            stack.append([])
        case "EMPTY_TUPLE":
            stack.append(())
        case "TUPLE":
            stack.append(tuple(_since_mark(stack)))
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            stack[-int(name[-1]) :] = [tuple(stack[-int(name[-1]) :])]
        case "APPEND":
            _extend(stack[-2], [stack.pop()])
        case "APPENDS" | "ADDITEMS":
            items = _since_mark(stack)
            _extend(stack[-1], items)
        case "SETITEM":
            value, key = stack.pop(), stack.pop()
            _set(stack[-1], [key, value])
        case "SETITEMS":
            items = _since_mark(stack)
            _set(stack[-1], items)
        case "GLOBAL":
            stack.append(_known(*argument.split(" ", 1)))
        case "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_known(module, attribute))
        case "BINPERSID":  # it stands for a tensor's numbers: ("storage", type, entry, device, how many)
            stack.append(("storage", stack.pop()))
        case "REDUCE" | "NEWOBJ":
            arguments, called = stack.pop(), stack.pop()
            stack.append(_made(called, arguments))
        case "BUILD":
            state = stack.pop()
            _build(stack[-1], state)
        case _:
            raise Refused(f"it has the instruction {name}, which torch.save has no need of")


def _since_mark(stack: list) -> list:
    """What was put on the stack since the last mark; takes it, and the mark, away."""
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _extend(target: Any, items: list) -> None:
    if type(target) is not list:
        raise Refused(f"it appends to a {type(target).__name__}")
    target.extend(items)


def _set(target: Any, items: list) -> None:
    if type(target) is not dict:
        raise Refused(f"it sets entries of a {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) in (SavedTensor, SavedObject):
            continue  # the state of an optimizer, which has a tensor's momentum under the tensor
        if type(key) not in (str, int):
            raise Refused(f"it has a key of the type {type(key).__name__}, expected texts and whole numbers")
        target[key] = value


def _known(module: Any, name: Any) -> SavedName:
    """A name that the machine knows what to make of.  Every function or class that a file wants goes through here."""
    named = SavedName(module, name)
    of_torch = module == "torch" and str(name).removesuffix("Storage") in STORAGES
    if not (isinstance(module, str) and isinstance(name, str)):
        raise Refused("it has a name that is no text")
    if named in CONTAINERS or named in (TENSOR, PARAMETER) or of_torch:
        return named
    if UNWANTED.fullmatch(module) or TORCHSCRIPT.fullmatch(module):
        return named
    raise Refused(f"it asks for {module[:100]}.{name[:100]}")


def _made(called: Any, arguments: Any) -> Any:
    """What stands for the result of a call."""
    if type(called) is not SavedName or type(arguments) is not tuple:
        raise Refused("it calls what is no function")
    if called == TENSOR:
        return SavedTensor(arguments)
    if called == PARAMETER:
        return arguments[0]
    if called == ("collections", "OrderedDict"):
        if arguments:
            raise Refused("it fills a dictionary in another way than torch.save")
        return {}
    if called in CONTAINERS:  # beside the dictionary of tensors nothing is wanted of them
        return {}
    return SavedObject()


def _build(target: Any, state: Any) -> None:
    """Give an object its attributes; those of a dictionary (torch notes versions there) are left out."""
    if type(target) is SavedObject:
        target.state = state
    elif type(target) is not dict:
        raise Refused("it changes a tensor or a class after it was made")
