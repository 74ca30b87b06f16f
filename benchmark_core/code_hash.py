"""Hashes of live Python objects: what a module, a function or a transform would do, told from what it is made of.

Code enters as what is executed (bytecode, constants, the functions and values it refers to), not as text: a cell of a
notebook, a lambda and a line typed at the prompt have no source file, and a file that was edited but not loaded again
has the wrong one. So comments and layout change nothing, and another minor version of Python gives other hashes.
What belongs to an installed package or to the standard library enters as its name and the package's version.
"""

from __future__ import annotations

import copyreg
import enum
import hashlib
import logging
import re
import threading
import types
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from benchmark_core.code_origin import is_library_file, library_name
from benchmark_core.code_references import cell_content, globals_of, names_in
from benchmark_core.errors import InputError
from benchmark_core.weights_hash import feed, tensor_hash

_ATOMS = (bool, int, float, complex, str, bytes, bytearray, type(None), type(Ellipsis), type(NotImplemented))
_CODE_FIELDS = (
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
)
_INERT: tuple[type, ...] = (
    logging.Logger,
    weakref.ReferenceType,
    type(threading.Lock()),
    type(threading.RLock()),
    torch.device,
)
"""Kinds of objects that change nothing that a forward pass computes, or (a device) may change no key."""
# What Python and torch keep about a class or a module beside what it does.
_CLASS_LITTER = re.compile(
    r"__(module|qualname|doc|dict|weakref|annotations|annotate|annotate_func|annotations_cache|firstlineno"
    r"|static_attributes|abstractmethods|parameters|orig_bases|dataclass_fields|dataclass_params|match_args"
    r"|slotnames)__|_abc_impl|_backward_cls"
)
_MODULE_LITTER = re.compile(
    r"training|_modules|_parameters|_buffers|_non_persistent_buffers_set|_is_full_backward_hook|_compiled_call_impl"
    r"|_(forward|backward)_(pre_)?hooks(_with_kwargs|_always_called)?|_(load_)?state_dict_(pre_|post_)?hooks"
)
_GRAPH_LITTER = re.compile(
    r"_graph|_code|_tracer_cls|_tracer_extras|_codegen|_lineno_map|_prologue_start|meta|shape_env"
    r"|_(create_node|erase_node|replace|deepcopy)_hooks?|_user_provided_name"
)


def code_hash(value: Any, what: str, *, weights: bool = True) -> str:
    """Return the SHA-256 (hex) of what an object does and holds.

    Covered are the classes of the object (all methods), the functions they call by name, closures, defaults, the
    values of the globals they read, and the object's attributes, through any depth. Of a :class:`torch.nn.Module` also
    its forward hooks, parameters and buffers, but not whether it is in training mode. Equal in every process with the
    same minor version of Python and the same versions of the packages used.

    Parameters
    ----------
    value
        A module, a function, a transform.
    what
        What the object is, for errors.
    weights
        Whether the values of the parameters and buffers of ``value``, a module, count; if not, :func:`~benchmark_core.weights_hash.weights_hash`
        has them.

    Raises
    ------
    InputError
        If some part of it cannot be read (a TorchScript module, a generator, an open connection), naming that part.
    """
    apart = frozenset() if weights else frozenset(id(part) for part in value.modules())
    try:
        return _Walker(what, apart).finish(value, what).hex()
    except RecursionError:
        raise InputError(f"{what} cannot be given a key: it holds objects nested too deeply to be read") from None


class _Walker:
    """Feeds an object and everything it rests on into one hash; what was met before enters as its number."""

    def __init__(self, what: str, apart: frozenset[int]) -> None:
        self.what = what
        self.apart = apart  # ids of the modules whose weights are hashed elsewhere
        self.hash = hashlib.sha256()
        self.seen: dict[int, int] = {}
        self.waiting: deque[tuple[Any, str]] = deque()  # each in turn: code refers to code without end
        self.alive: list[Any] = []  # an id stands for one object only as long as that lives

    def finish(self, value: Any, where: str) -> bytes:
        """Feed a value and all the functions and classes met on the way; return the digest."""
        self.visit(value, where)
        while self.waiting:
            met, where = self.waiting.popleft()
            if isinstance(met, type):
                self.type(met, where)
            else:
                self.function(met, where)
        return self.hash.digest()

    def visit(self, value: Any, where: str) -> None:
        """Feed one value; ``where`` says, for errors, how it was reached."""
        if isinstance(value, _ATOMS) and type(value) in _ATOMS:
            self.feed(type(value).__name__, repr(value).encode())
        elif isinstance(value, types.CodeType):
            self.code(value, where)
        elif type(value) in (tuple, torch.Size):
            self.items("tuple", value, where)
        elif isinstance(value, (frozenset, set)):
            self.unordered(value, where)
        elif isinstance(value, _INERT):
            self.feed("inert", type(value).__name__.encode())
        elif id(value) in self.seen:
            self.feed("again", str(self.seen[id(value)]).encode())
        else:
            self.seen[id(value)] = len(self.seen)
            self.alive.append(value)
            self.compound(value, where)

    def feed(self, tag: str, *parts: bytes) -> None:
        feed(self.hash, tag, *parts)

    def items(self, tag: str, values: Iterable[Any], where: str) -> None:
        listed = list(values)
        self.feed(tag, str(len(listed)).encode())
        for number, value in enumerate(listed):
            self.visit(value, f"{where}[{number}]")

    def named(self, tag: str, values: Mapping[str, Any], where: str) -> None:
        """Feed named values in the order of their names."""
        self.feed(tag, str(len(values)).encode())
        for name in sorted(values):
            self.feed("name", name.encode())
            self.visit(values[name], f"{where}.{name}")

    def unordered(self, values: Iterable[Any], where: str) -> None:
        """Feed the members of a set: their order changes from process to process."""
        digests = []
        for value in values:
            digests.append(_Walker(self.what, self.apart).finish(value, f"a member of {where}"))
        self.feed("set", *sorted(digests))

    def compound(self, value: Any, where: str) -> None:
        if isinstance(value, torch.Tensor):
            self.feed("tensor", tensor_hash(value))
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            content = np.ascontiguousarray(value)
            self.feed("array", content.dtype.str.encode(), repr(value.shape).encode(), content.tobytes())
        elif isinstance(value, torch.nn.Module):
            self.module(value, where)
        elif isinstance(value, (type, types.FunctionType)):
            self.feed("later")
            self.waiting.append((value, where))
        elif isinstance(value, types.ModuleType):
            self.members(value, set(vars(value)), where, {id(value)})
        elif isinstance(value, types.MethodType):
            self.feed("method")
            self.visit(value.__func__, where)
            self.visit(value.__self__, f"{where}.__self__")
        elif isinstance(value, (staticmethod, classmethod)):
            self.feed(type(value).__name__)
            self.visit(value.__func__, where)
        elif isinstance(value, property):
            self.items("property", (value.fget, value.fset, value.fdel), where)
        elif isinstance(value, cached_property):
            self.items("cached_property", (value.func,), where)
        elif isinstance(value, torch.jit.ScriptFunction):
            self.feed("script", value.code.encode())  # type: ignore[attr-defined]
        elif isinstance(value, enum.Enum):
            self.feed("enum", value.name.encode())
            self.visit(type(value), where)
        elif isinstance(value, partial):
            self.items("partial", (value.func, value.args, value.keywords), where)
        elif isinstance(value, _NAMED) or "__wrapped__" in getattr(value, "__dict__", ()):
            self.named_builtin(value, where)
        else:
            self.instance(value, where)

    def named_builtin(self, value: Any, where: str) -> None:
        """Feed what is compiled: its name, what it is bound to, and what it wraps."""
        self.feed("builtin", f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value)}".encode())
        bound = getattr(value, "__self__", None)
        if isinstance(value, types.BuiltinMethodType) and not isinstance(bound, (types.ModuleType, type, type(None))):
            self.visit(bound, f"{where}.__self__")
        if "__wrapped__" in getattr(value, "__dict__", ()):
            self.visit(value.__wrapped__, where)

    def instance(self, value: Any, where: str) -> None:
        """Feed any other object: its class, its content if it is a collection, and its attributes."""
        kind = type(value)
        self.feed("instance")
        self.visit(kind, f"the class of {where}")
        held = False
        if isinstance(value, (bool, int, float, complex, str, bytes, bytearray)):
            self.feed("value", repr(value).encode())
            held = True
        elif isinstance(value, (dict, types.MappingProxyType)):
            self.feed("dict", str(len(value)).encode())
            for key, item in value.items():
                self.visit(key, f"a key of {where}")
                self.visit(item, f"{where}[{key!r}]" if isinstance(key, (str, int)) else where)
            held = True
        elif isinstance(value, (list, tuple)) or kind.__module__ == "collections":
            self.items("list", value, where)
            held = True
        attributes = dict(_attributes(value))
        if attributes:
            self.named("attributes", attributes, where)
        elif not held and not hasattr(value, "__dict__"):
            self.reduced(value, where)

    def reduced(self, value: Any, where: str) -> None:
        """Feed an object that shows no attributes by what it says of itself for being copied."""
        try:
            known = copyreg.dispatch_table.get(type(value))
            parts = known(value) if known else value.__reduce_ex__(4)
        except Exception:
            raise InputError(
                f"{self.what} cannot be given a key: {where} is a {type(value).__name__}, which cannot be read; "
                "remove it, or make it a plain value"
            ) from None
        if isinstance(parts, str):
            self.feed("global", parts.encode())
            return
        made, arguments, state, items, pairs = (*parts, None, None, None, None)[:5]
        content = (made, arguments, state, list(items or ()), list(pairs or ()))
        self.alive.append(content)
        self.items("reduced", content, where)

    def type(self, kind: type, where: str) -> None:
        name = library_name(getattr(kind, "__module__", None))
        if name:
            self.feed("library class", f"{name}:{kind.__qualname__}".encode())
            return
        self.feed("class", kind.__name__.encode())
        self.items("bases", kind.__bases__, where)
        if type(kind) is not type:
            self.visit(type(kind), f"the metaclass of {where}")
        members = {k: v for k, v in vars(kind).items() if not _CLASS_LITTER.fullmatch(k) and not isinstance(v, _SLOTS)}
        self.named("members", members, kind.__name__)

    def function(self, function: types.FunctionType, where: str) -> None:
        code, space = function.__code__, function.__globals__
        cells = [cell_content(cell) for cell in function.__closure__ or ()]
        if is_library_file(code.co_filename):
            name = f"{library_name(space.get('__name__')) or space.get('__name__')}:{code.co_qualname}"
            self.feed("library function", name.encode())
        else:
            self.feed("function")
            self.code(code, where)
            for name, value in sorted(globals_of(code, space).items()):
                self.feed("global", name.encode())
                if isinstance(value, types.ModuleType):
                    self.members(value, names_in(code), f"{where} -> {name}", {id(value)})
                else:
                    self.visit(value, f"{where} -> {name}")
        self.items("defaults", (function.__defaults__, function.__kwdefaults__), where)
        self.items("closure", cells, where)
        attributes = {k: v for k, v in vars(function).items() if k.isidentifier()}
        self.named("attributes", attributes, where)

    def members(self, module: types.ModuleType, names: set[str], where: str, above: set[int]) -> None:
        """Feed those members of a module of the user's that code names (``shapes.scale``, ``lab.shapes.scale``)."""
        library = library_name(module.__name__)
        self.feed("module", (library or "").encode())
        if library:
            return
        for name in sorted(n for n in names & set(vars(module)) if not n.startswith("__")):
            value = vars(module)[name]
            if not isinstance(value, types.ModuleType):
                self.feed("member", name.encode())
                self.visit(value, f"{where}.{name}")
            elif id(value) not in above:
                self.feed("member", name.encode())
                self.members(value, names, f"{where}.{name}", above | {id(value)})

    def code(self, code: types.CodeType, where: str) -> None:
        fields = [code.co_flags & 0xFFFF, *(getattr(code, name) for name in _CODE_FIELDS)]  # no __future__ flags
        self.feed("code", code.co_code, code.co_exceptiontable, *(repr(value).encode() for value in fields))
        self.items("constants", code.co_consts, where)

    def module(self, module: torch.nn.Module, where: str) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                f"{self.what} cannot be given a key: {where} is a TorchScript module, whose code Python cannot read; "
                "score the module that it was made from"
            )
        graph = isinstance(module, torch.fx.GraphModule)
        if graph:
            self.feed("graph", str(module.code).encode())
        else:
            self.feed("nn.Module")
            self.visit(type(module), f"the class of {where}")
        for group in ("_parameters", "_buffers"):
            tensors = module.__dict__[group]
            self.feed(group, *(f"{name}={tensors[name] is not None}".encode() for name in sorted(tensors)))
            if id(module) not in self.apart:
                self.items("values", (tensors[name] for name in sorted(tensors)), where)
        for event in ("_forward_pre_hooks", "_forward_hooks"):
            hooks, options = module.__dict__.get(event) or {}, module.__dict__.get(f"{event}_with_kwargs") or {}
            for number, hook in hooks.items():
                self.feed(event, str(number in options).encode())
                self.visit(hook, f"a hook of {where}")
        # In their own order: Sequential and others go by it.
        for name, child in module._modules.items():
            self.feed("child", name.encode())
            if child is None or id(child) in self.seen:
                self.visit(child, f"{where}.{name}")
            else:
                self.seen[id(child)] = len(self.seen)
                self.module(child, f"{where}.{name}")
        attributes = {k: v for k, v in module.__dict__.items() if not _MODULE_LITTER.fullmatch(k)}
        if graph:
            attributes = {k: v for k, v in attributes.items() if not _GRAPH_LITTER.fullmatch(k)}
        self.named("attributes", attributes, where)


_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_NAMED = (
    types.BuiltinFunctionType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GenericAlias,
    np.ufunc,
    np.dtype,
    torch.dtype,
    torch.layout,
    torch.memory_format,
    torch._ops.OpOverload,
    torch._ops.OpOverloadPacket,
    *_SLOTS,
)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(value, "__dict__", {}).items()
    for kind in type(value).__mro__:
        if library_name(kind.__module__) and not kind.__module__.startswith(("torchvision", "timm", "torch")):
            continue
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield name, getattr(value, name)
