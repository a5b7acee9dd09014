"""Text as vectors for search by meaning: an ONNX model in a folder, or an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np

from speech.errors import PodlakeError

TOKENS = 256
"""Longer turns are cut, as small sentence models were trained."""
TIMEOUT_S = 60.0


class EmbeddingsUnavailable(PodlakeError, ValueError):
    """The configured model cannot be used; the message says what to do."""


class Embedder(Protocol):
    """A model of sentences."""

    @property
    def name(self) -> str:
        """Vectors of models with different names are not compared."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32, one row a text. Raises EmbeddingsUnavailable."""


def load_embedder(choice: str, key: str = "") -> Embedder:
    """The model of the setting `embeddings`: a folder, or `https://host/v1#model`. Raises EmbeddingsUnavailable."""
    if not choice:
        raise EmbeddingsUnavailable(
            "Search by meaning needs a model: set PODLAKE_EMBEDDINGS to a folder with model.onnx and tokenizer.json, "
            "or to the address of an OpenAI-compatible API and a model, such as http://127.0.0.1:11434/v1#all-minilm."
        )
    if choice.startswith(("http://", "https://")):
        url, _, model = choice.partition("#")
        if not model:
            raise EmbeddingsUnavailable(f"PODLAKE_EMBEDDINGS {choice} names no model: add it after a #.")
        return EndpointEmbedder(url.rstrip("/"), model, key)
    folder = Path(choice).expanduser()
    for name in ("model.onnx", "tokenizer.json"):
        if not (folder / name).is_file():
            raise EmbeddingsUnavailable(f"PODLAKE_EMBEDDINGS: there is no {name} in {folder}.")
    return OnnxEmbedder(folder)


@dataclass(frozen=True)
class EndpointEmbedder:
    """An API with the call `POST /embeddings`."""

    url: str
    model: str
    key: str = ""

    @property
    def name(self) -> str:
        return f"{self.url}#{self.model}"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            answer = httpx.post(
                f"{self.url}/embeddings", json={"model": self.model, "input": list(texts)}, headers=headers,
                timeout=TIMEOUT_S,
            )  # fmt: skip
            answer.raise_for_status()
            rows = sorted(answer.json()["data"], key=lambda one: one["index"])
            vectors = np.array([one["embedding"] for one in rows], np.float32)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EmbeddingsUnavailable(f"{self.url} gave no embeddings of {self.model}: {error}") from error
        if vectors.shape[0] != len(texts):
            raise EmbeddingsUnavailable(f"{self.url} gave {len(vectors)} embeddings for {len(texts)} texts.")
        return _unit(vectors)


@dataclass(frozen=True)
class OnnxEmbedder:
    """A sentence-transformers model, exported to ONNX. Without a pooled output, the mean of its tokens is taken."""

    folder: Path

    @property
    def name(self) -> str:
        stat = (self.folder / "model.onnx").stat()
        return f"{self.folder.absolute()}@{stat.st_size}.{stat.st_mtime_ns}"

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.enable_truncation(TOKENS)
        tokenizer.enable_padding()
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        return onnxruntime.InferenceSession(str(self.folder / "model.onnx"), providers=["CPUExecutionProvider"])

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        encoded = self._tokenizer.encode_batch(list(texts))
        mask = np.array([one.attention_mask for one in encoded], np.int64)
        given = {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.array([one.type_ids for one in encoded], np.int64),
        }
        asked = [one.name for one in self._session.get_inputs()]
        output = self._session.run(None, {name: given[name] for name in asked})[0]
        if output.ndim == 3:
            weights = mask[:, :, None].astype(np.float32)
            output = (output * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
        return _unit(output.astype(np.float32))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Of length one; a vector of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = vectors / np.where(lengths > 0, lengths, 1)
    return unit
