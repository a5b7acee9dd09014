"""Adds a CAM++ embedding of every speaker to the results of a diarizer that gives none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec

from speech.engines.protocols import ON_CPU, DeviceUse, Diarizer, EngineSpec
from speech.engines.speaker_embeddings import SpeakerEmbedder, with_speaker_embeddings
from speech.engines.waveform import samples_of
from speech.errors import PodlakeError
from speech.types import Diarization, Recording


class EmbeddingDiarizer:
    """A `Diarizer`. A host process computes the embeddings if its environment has onnxruntime, else its client does.

    Without onnxruntime in this environment, the speakers have no embedding.
    """

    def __init__(self, diarizer: Diarizer) -> None:
        self.diarizer = diarizer
        self._embedder: SpeakerEmbedder | None = None

    @property
    def spec(self) -> EngineSpec:
        return self.diarizer.spec

    def diarize(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Diarization | PodlakeError]]:
        for recording, result in self.diarizer.diarize(recordings):
            yield recording, self._embedded(recording, result)

    def device_use(self) -> DeviceUse:
        return self.diarizer.device_use()

    def close(self) -> None:
        self._embedder = None
        self.diarizer.close()

    def _embedded(self, recording: Recording, result: Diarization | PodlakeError) -> Diarization | PodlakeError:
        if isinstance(result, PodlakeError) or result.embeddings or not result.segments or not find_spec("onnxruntime"):
            return result
        self._embedder = self._embedder or SpeakerEmbedder(ON_CPU.name)
        try:
            return with_speaker_embeddings(result, samples_of(recording), self._embedder)
        except PodlakeError as error:
            return error
