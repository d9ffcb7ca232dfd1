"""Classifies texts with small early-exit BERT models.

    from edge_distil import Classifier

    with Classifier.open("model.edge") as classifier:
        print(classifier.classify("what a wonderful film").label)
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Optional, Union

from . import _native
from ._native import Policy

if TYPE_CHECKING:

    class EdgeError(Exception):
        """Error of this library, one class for each remedy."""

        Io: type[EdgeError]
        Bundle: type[EdgeError]
        Policy: type[EdgeError]
        Input: type[EdgeError]
        Engine: type[EdgeError]

else:
    from ._native import EdgeError

__all__ = ["Classifier", "EdgeError", "Policy", "Prediction"]
__version__ = metadata.version("edge-distil")

for _variant in (Policy.NEVER, Policy.CONFIDENCE, Policy.ENTROPY, Policy.MARGIN, Policy.PATIENCE):
    # UniFFI's own `__repr__` lacks the thresholds.
    _variant.__repr__ = _variant.__str__  # type: ignore[method-assign, assignment]

# Each variant is a subclass of Policy at run time, which type checkers cannot see.
_Policy = Union["Policy.NEVER", "Policy.CONFIDENCE", "Policy.ENTROPY", "Policy.MARGIN", "Policy.PATIENCE"]


@dataclass
class Prediction:
    """Answer of a classifier for one text."""

    label: str
    """The label with the largest probability."""
    probability: float
    """The probability of the label."""
    probabilities: list[float]
    """One probability for each label, in the labels' order."""
    stage: int
    """The stage after which the text left: 0 for the embeddings, k for encoder layer k."""
    tokens: int
    """Tokens of the text, special tokens included."""
    truncated: bool
    """True if the text was cut to the model's length."""


class Classifier:
    """Text classifier. Any number of threads may use it at the same time.

    A copy shares the model. A classifier of a file can be pickled: by the file's path and SHA-256.
    """

    _model: Optional[_native.Classifier]
    _source: Union[_File, int]

    def __init__(self) -> None:
        raise TypeError("cannot make a Classifier directly; use Classifier.open(path) or Classifier.from_bytes(bundle)")

    @classmethod
    def open(cls, path: Union[str, os.PathLike[str]]) -> Classifier:
        """Opens a model.edge and reads it into memory."""
        name = os.fsdecode(path)
        # The state is read before the file is opened: `sha256` then detects a file that is replaced in between.
        source = _File(name)
        return cls._of(_native.Classifier.open(name), source)

    @classmethod
    def from_bytes(cls, bundle: Union[bytes, bytearray, memoryview]) -> Classifier:
        """Opens a bundle in memory and copies it."""
        copied = bundle if isinstance(bundle, bytes) else bytes(memoryview(bundle))
        return cls._of(_native.Classifier.from_bytes(copied), len(copied))

    @classmethod
    def _of(cls, native: Optional[_native.Classifier], source: Union[_File, int]) -> Classifier:
        made = cls.__new__(cls)
        made._model, made._source = native, source
        return made

    def labels(self) -> list[str]:
        """The labels, in the order of the probabilities."""
        return self._opened().labels()

    def exits(self) -> int:
        """The number of exits, and of the thresholds of a policy with one threshold for each exit."""
        return self._opened().exits()

    def max_tokens(self) -> int:
        """The model's length: the largest number of tokens, special tokens included. Longer texts are truncated."""
        return self._opened().max_tokens()

    def classify(self, text: str, policy: Optional[_Policy] = None) -> Prediction:
        """Classifies one text. The default policy is the policy of the bundle."""
        native = self._opened()
        if not isinstance(text, str):
            raise TypeError(f"text: expected a str, found {_name(text)}; classify_many takes several texts")
        return Prediction(**vars(native.classify(text, _checked(policy))))

    def classify_many(self, texts: Iterable[str], policy: Optional[_Policy] = None) -> list[Prediction]:
        """Classifies texts together. The default policy is the policy of the bundle."""
        native = self._opened()
        if isinstance(texts, (str, bytes, bytearray, memoryview, Mapping)):
            raise TypeError(f"texts: expected several, found one {_name(texts)}; classify takes one text")
        texts = list(texts)
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts[{index}]: expected a str, found {_name(text)}")
        return [Prediction(**vars(p)) for p in native.classify_many(texts, _checked(policy))]

    def close(self) -> None:
        """Frees the model, unless a copy or a call in another thread still uses it."""
        self._model = None

    def __enter__(self) -> Classifier:
        self._opened()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _opened(self) -> _native.Classifier:
        native = self._model
        if native is None:
            raise ValueError("the Classifier is closed")
        return native

    def __repr__(self) -> str:
        of = self._source.path if isinstance(self._source, _File) else f"{self._source} bytes"
        if self._model is None:
            return f"<Classifier of {of}, closed>"
        return f"<Classifier of {of}: {len(self.labels())} labels, {self.exits()} exits>"

    def __copy__(self) -> Classifier:
        return self._of(self._model, self._source)

    def __deepcopy__(self, memo: dict[int, Any]) -> Classifier:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        self._opened()
        if not isinstance(self._source, _File):
            raise TypeError(
                "cannot pickle a Classifier of bytes; write them to a file and use Classifier.open(path)"
            )
        return type(self)._reopen, (self._source.path, self._source.sha256())

    @classmethod
    def _reopen(cls, path: str, sha256: str) -> Classifier:
        """Opens the file of a pickled classifier, if it has the same bytes."""
        source = _File(path)
        found = source.sha256()
        if found != sha256:
            raise pickle.UnpicklingError(
                f"{path}: its SHA-256 is {found}; expected {sha256}, as when the Classifier was pickled; "
                "put the same model.edge there"
            )
        made = cls._of(_native.Classifier.open(path), source)
        source.check()
        return made


class _File:
    """A file that was opened: its absolute path, and its state, which shows if the file is replaced later."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._seen = self._state()
        self._sha256: Optional[str] = None

    def _state(self) -> Optional[tuple[int, ...]]:
        try:
            s = os.stat(self.path)
        except (OSError, ValueError):
            return None
        return s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns

    def check(self) -> None:
        """Raises an error if the file has changed since it was opened."""
        if self._state() != self._seen:
            raise pickle.PickleError(f"{self.path}: the file has changed since it was opened; open it again")

    def sha256(self) -> str:
        """The digest of the bytes that were opened."""
        if self._sha256 is None:
            digest = hashlib.sha256()
            with open(self.path, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            self.check()
            self._sha256 = digest.hexdigest()
        return self._sha256


def _name(value: object) -> str:
    return type(value).__name__


def _checked(policy: Any) -> Any:
    if policy is None or isinstance(policy, Policy):
        return policy
    raise TypeError(f"policy: expected a Policy such as Policy.NEVER(), found {policy!r}")
