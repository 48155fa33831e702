"""What a traced function is called with: tensor specs, argument flattening, cache keys, and what changed since."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.ir import Attribute

from dfc.errors import DfcError, InvalidArgument, InvalidType
from dfc.frontend import interop, locality, structure
from dfc.frontend.names import check_name
from dfc.frontend.structure import Structure
from dfc.frontend.tensor import Tensor
from dfc.ir import dims, locations
from dfc.ir.dims import Dim, SymbolicDim
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.types import Spec, spec_of, tensor_type


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor will be: shape, dtype, and a name for the input.

    A size is an int, a name (`"batch"`: any size, the same wherever the name stands; `"2*batch"` works too) or None
    (any size). Raises InvalidArgument for other sizes and InvalidType for what is no dtype.
    """

    shape: tuple[Any, ...]
    dtype: Any = "float32"
    name: str | None = None

    def __post_init__(self) -> None:
        shape = (self.shape,) if isinstance(self.shape, int | str) else tuple(self.shape)
        object.__setattr__(self, "shape", tuple(_dim(entry) for entry in shape))
        object.__setattr__(self, "dtype", as_dtype(self.dtype))
        if self.name is not None:
            check_name(self.name)

    def named(self, name: str) -> Spec:
        """Shape and dtype, with a symbol of its own for each size that is None."""
        prefix = "".join(c if c.isalnum() or c == "_" else "_" for c in name) or "d"
        prefix = prefix if prefix[0].isalpha() else f"d{prefix}"
        shape = (dims.symbol(f"{prefix}_{i}") if d is None else d for i, d in enumerate(self.shape))
        return Spec(tuple(shape), self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


def _dim(entry: Any) -> Dim | None:
    if entry is None or isinstance(entry, SymbolicDim):
        return entry
    if isinstance(entry, str):
        return dims.parse_dim(entry)
    if isinstance(entry, int) and not isinstance(entry, bool) and entry >= 0:
        return entry
    raise InvalidArgument(f"a size is a non-negative int, a name or None, got {entry!r}")


class Parameters:
    """A Python function's parameters: binds calls to them by Python's rules, with defaults."""

    def __init__(self, function: Callable[..., Any], *, skip_first: bool = False) -> None:
        signature = inspect.signature(function)
        if skip_first:
            signature = signature.replace(parameters=list(signature.parameters.values())[1:])
        self._signature = signature
        plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = list(signature.parameters.values())
        self.names = [p.name for p in parameters]
        self.required = [p.name for p in parameters if p.default is p.empty and p.kind in plain]
        self._all_plain = all(p.kind in plain for p in parameters)
        self._var_positional = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
        self._var_keyword = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
        self._positional_only = {p.name for p in parameters if p.kind is p.POSITIONAL_ONLY}

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Parameter name -> argument. Raises InvalidType, a TypeError, where Python's own call would."""
        if self._all_plain and not kwargs and len(args) == len(self.names):
            return dict(zip(self.names, args, strict=True))
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidType(f"{error}; the parameters are {self._signature}") from None
        bound.apply_defaults()
        return dict(bound.arguments)

    def call(self, function: Callable[..., Any], bound: Mapping[str, Any]) -> Any:
        """`function` with the arguments that `bound` names."""
        if self._all_plain and not self._positional_only:
            return function(**bound)
        made = inspect.BoundArguments(self._signature, dict(bound))
        return function(*made.args, **made.kwargs)


def is_dynamic(value: Any) -> bool:
    """Whether an argument is a tensor of the traced function, rather than part of its signature."""
    return type(value) is Tensor or isinstance(value, TensorSpec) or interop.is_array(value)


@dataclass(frozen=True)
class Arguments:
    """A call's arguments, flattened: the tensors, and the structure with everything static in it."""

    leaves: list[Any]
    structure: Structure

    @classmethod
    def of(cls, bound: Mapping[str, Any]) -> Arguments:
        leaves, nest = structure.flatten(dict(bound), is_dynamic)
        return cls([interop.known(leaf) for leaf in leaves], nest)

    @property
    def names(self) -> list[str]:
        """`a.b.0`, or the name that a TensorSpec gives."""
        paths = structure.leaf_names(self.structure)
        given = [leaf.name if isinstance(leaf, TensorSpec) else None for leaf in self.leaves]
        return [name or path for name, path in zip(given, paths, strict=True)]

    def types(self) -> tuple[Attribute, ...]:
        """The interned type of each leaf."""
        return tuple(map(type_of, self.leaves))


def type_of(leaf: Any, name: str = "d") -> Attribute:
    """The interned type of a tensor, an array or a TensorSpec, wherever its value is."""
    if type(leaf) is Tensor:
        return locality.plain(leaf._type)
    if isinstance(leaf, TensorSpec):
        return tensor_type(*leaf.named(name))
    return tensor_type(tuple(leaf.shape), as_dtype(leaf.dtype))


# ---- signatures that the user gives


@dataclass
class Signature:
    """The input specs that `dfc.function(signature=...)` fixes: a nest of TensorSpecs for each parameter."""

    entries: Sequence[Any]
    parameters: Parameters
    specs: list[Spec] = field(init=False)
    """Shape and dtype of each input, flat."""
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        wanted = self.parameters.names
        if not isinstance(self.entries, list | tuple):
            raise InvalidType(f"a signature is a list with a TensorSpec for each parameter, got {self.entries!r}")
        if not len(self.parameters.required) <= len(self.entries) <= len(wanted):
            raise InvalidArgument(
                f"the signature has {len(self.entries)} entries for the parameters {', '.join(wanted) or '(none)'}"
            )
        self._nest = dict(zip(wanted, self.entries, strict=False))
        leaves, self.structure = structure.flatten(self._nest, lambda x: isinstance(x, TensorSpec))
        paths = structure.leaf_names(self.structure)
        self.names = [leaf.name or path for leaf, path in zip(leaves, paths, strict=True)]
        if len(set(self.names)) != len(self.names):
            raise InvalidArgument(f"two inputs would have the same name: {', '.join(self.names)}")
        self.specs = [leaf.named(name) for leaf, name in zip(leaves, self.names, strict=True)]

    def arguments(self, bound: Mapping[str, Any]) -> Arguments:
        """The call's tensors in the order of `specs`; numbers and lists become arrays of the spec's dtype.

        Raises InvalidArgument where the nest differs from the signature.
        """
        specs = iter(self.specs)
        leaves: list[Any] = []
        extra = {name: value for name, value in bound.items() if name not in self._nest}
        for name, entry in self._nest.items():
            _match_nest(entry, bound[name], name, specs, leaves)
        extra_leaves, extra_structure = structure.flatten(extra, is_dynamic)
        if extra_leaves:
            raise InvalidArgument(f"the signature has no entry for {', '.join(structure.leaf_names(extra_structure))}")
        return Arguments(leaves, extra_structure)

    def unify(self, types: Sequence[Attribute]) -> dict[str, int]:
        """The sizes of the symbols for inputs of these types. Raises InvalidArgument where one doesn't fit."""
        bindings: dict[str, int] = {}
        origin: dict[str, str] = {}
        for name, spec, type in zip(self.names, self.specs, types, strict=True):
            given = spec_of(type)
            before = set(bindings)
            fits = given.dtype is spec.dtype and len(given.shape) == len(spec.shape)
            for pattern, size in zip(spec.shape, given.shape, strict=False):
                fits = fits and isinstance(size, int) and dims.match(pattern, size, bindings)
            for symbol in bindings.keys() - before:
                origin[symbol] = name
            if not fits:
                raise self._misfit(name, spec, given, bindings, origin)
        for name, spec, type in zip(self.names, self.specs, types, strict=True):
            if dims.substitute(spec.shape, bindings) != spec_of(type).shape:
                raise self._misfit(name, spec, spec_of(type), bindings, origin)
        return bindings

    def _misfit(
        self, name: str, spec: Spec, given: Spec, bindings: Mapping[str, int], origin: Mapping[str, str]
    ) -> DfcError:
        symbols = frozenset[str]().union(*(d.symbols for d in spec.shape if isinstance(d, SymbolicDim)))
        known = [f"{s} = {bindings[s]} by {origin[s]}" for s in sorted(symbols) if origin.get(s, name) != name]
        kind = InvalidType if given.dtype is not spec.dtype else InvalidArgument
        return kind(
            f"{name} must be {spec}{' with ' + ', '.join(known) if known else ''}, got {given}",
            location=locations.describe(locations.capture()),
            hint=f"convert it with dfc.astype or .astype({str(spec.dtype)!r})" if kind is InvalidType else "",
        )

    def check(self, types: Sequence[Attribute]) -> None:
        """For a call inside another trace, whose sizes may be symbolic: dtypes, ranks and known sizes must fit."""
        bindings: dict[str, Any] = {}
        for name, spec, type in zip(self.names, self.specs, types, strict=True):
            given = spec_of(type)
            fits = given.dtype is spec.dtype and len(given.shape) == len(spec.shape)
            for pattern, size in zip(spec.shape, given.shape, strict=False):
                if isinstance(pattern, SymbolicDim) and pattern.text.isidentifier():
                    fits = fits and bindings.setdefault(pattern.text, size) == size
                elif isinstance(pattern, int):
                    fits = fits and pattern == size
            if not fits:
                raise self._misfit(name, spec, given, {}, {})


def _match_nest(entry: Any, value: Any, path: str, specs: Any, leaves: list[Any]) -> None:
    if isinstance(entry, TensorSpec):
        spec = next(specs)
        leaves.append(_as_leaf(value, spec.dtype, path))
        return
    node = structure.children(entry)
    if node is None:
        if entry != value:
            raise InvalidArgument(f"{path} must be {entry!r} as in the signature, got {value!r}")
        return
    kind, keys, items, _ = node
    given = structure.children(value)
    if given is None or given[0] != kind or len(given[2]) != len(items) or set(given[1]) != set(keys):
        raise InvalidArgument(f"{path} must be a {kind} as in the signature, {entry!r}, got {value!r}")
    by_key = dict(zip(given[1], given[2], strict=True)) if keys else dict(enumerate(given[2]))
    for key, item in zip(keys or range(len(items)), items, strict=True):
        _match_nest(item, by_key[key], f"{path}.{key}", specs, leaves)


def _as_leaf(value: Any, dtype: DType, path: str) -> Any:
    if is_dynamic(value):
        return interop.known(value)
    if hasattr(value, "__dfc_tensor__"):
        return value.__dfc_tensor__()
    try:
        return interop.fitting(value, dtype)
    except DfcError as error:
        raise error.at(op=path) from None


# ---- why a function was traced again


def describe(arguments: Arguments, types: Sequence[Attribute]) -> dict[str, str]:
    """Argument path -> what the signature says of it: `float32[2, 3]` for a tensor, the text of a static value."""
    leaves = iter(types)
    found: dict[str, str] = {}

    def visit(node: Structure, path: str) -> None:
        if node.kind == "leaf":
            found[path] = str(spec_of(next(leaves)))
        elif node.kind == "static":
            found[path] = repr(node.value)
        elif not node.children:
            found[path] = f"an empty {node.kind}"
        else:
            keys = node.keys or range(len(node.children))
            for key, child in zip(keys, node.children, strict=True):
                visit(child, f"{path}.{key}" if path else str(key))

    if arguments.structure.children:
        visit(arguments.structure, "")
    return found


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What differs between two descriptions, a sentence each."""
    found = []
    for path in dict.fromkeys([*before, *after]):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        if old is None:
            found.append(f"{path} is new: {new}")
        elif new is None:
            found.append(f"{path} is gone, it was {old}")
        else:
            found.append(f"{path} changed from {old} to {new}")
    return found
