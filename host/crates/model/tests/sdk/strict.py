"""The SDKs' request types, made strict.

As they are, they accept broken bodies: nested `Iterable`s are validated lazily, which
is never, and unknown fields pass. Here each typed dictionary is rebuilt with lists,
without coercion and with unknown fields forbidden.
"""

import collections.abc
import types
import typing

import typing_extensions
from pydantic import BaseModel, ConfigDict, TypeAdapter


class _Dropped:
    """Stands for what cannot be in a JSON body: paths, open files, and the SDK's own
    objects of earlier answers, which would let unknown fields pass."""


def _wrapped(hint, wrapper):
    return typing.get_origin(hint) in (
        getattr(typing, wrapper, None),
        getattr(typing_extensions, wrapper),
    )


def _declared_total(kind, key):
    """Whether the class that declares `key` makes keys required."""
    for base in getattr(kind, "__orig_bases__", ()):
        if typing_extensions.is_typeddict(base) and key in typing_extensions.get_type_hints(base):
            return _declared_total(base, key)
    return getattr(kind, "__total__", True)


class Strict:
    """Rebuilds types; one instance per set of types that refer to each other."""

    def __init__(self):
        self.known = {}

    def adapter(self, kind):
        return TypeAdapter(self.of(kind))

    def of(self, hint):
        if typing_extensions.is_typeddict(hint):
            return self.dictionary(hint)
        origin = typing.get_origin(hint)
        args = typing.get_args(hint)
        if origin is None:
            answer = isinstance(hint, type) and issubclass(hint, BaseModel)
            return _Dropped if answer else hint
        if origin in (typing.Annotated, typing_extensions.Annotated):
            return self.of(args[0])
        if origin in (typing.Union, types.UnionType):
            members = [self.of(member) for member in args]
            members = [member for member in members if member is not _Dropped]
            return typing.Union[tuple(members)] if members else _Dropped
        if origin in (typing.Literal, typing_extensions.Literal):
            return hint
        if origin is tuple:
            return _Dropped
        if origin is dict or origin is collections.abc.Mapping:
            return dict[args[0], self.of(args[1])]
        name = getattr(origin, "__name__", "")
        if name in ("list", "Iterable", "Sequence", "SequenceNotStr"):
            return list[self.of(args[0])]
        if name in ("PathLike", "IO"):
            return _Dropped
        raise TypeError(f"a type that nobody thought of: {hint}")

    def dictionary(self, kind):
        if kind in self.known:
            known = self.known[kind]
            if known is None:
                raise TypeError(f"{kind} contains itself")
            return known
        self.known[kind] = None
        fields = {}
        for key, hint in typing_extensions.get_type_hints(kind, include_extras=True).items():
            required = _declared_total(kind, key)
            while _wrapped(hint, "Required") or _wrapped(hint, "NotRequired"):
                required = _wrapped(hint, "Required")
                hint = typing.get_args(hint)[0]
            hint = self.of(hint)
            if hint is _Dropped:
                continue
            wrapper = typing_extensions.Required if required else typing_extensions.NotRequired
            fields[key] = wrapper[hint]
        rebuilt = typing_extensions.TypedDict(kind.__name__, fields)
        extra = getattr(kind, "__pydantic_config__", {}).get("extra", "forbid")
        rebuilt.__pydantic_config__ = ConfigDict(extra=extra, strict=True)
        self.known[kind] = rebuilt
        return rebuilt
