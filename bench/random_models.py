"""Models as large as the published ones, with random weights: throughput can be measured without a model hub."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speech.engines import nemo_runtime

DURATIONS = [0, 1, 2, 3, 4]
VOCABULARY = 1024

_MELS = {
    "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "sample_rate": 16_000,
    "window_size": 0.025,
    "window_stride": 0.01,
    "window": "hann",
    "features": 128,
    "n_fft": 512,
    "frame_splicing": 1,
    "dither": 1e-5,
    "pad_to": 0,
}
_FASTCONFORMER = {
    "_target_": "nemo.collections.asr.modules.ConformerEncoder",
    "feat_in": 128,
    "feat_out": -1,
    "subsampling": "dw_striding",
    "subsampling_factor": 8,
    "subsampling_conv_channels": 256,
    "causal_downsampling": False,
    "ff_expansion_factor": 4,
    "self_attention_model": "rel_pos",
    "n_heads": 8,
    "att_context_size": [-1, -1],
    "att_context_style": "regular",
    "xscaling": False,
    "untie_biases": True,
    "pos_emb_max_len": 5000,
    "conv_kernel_size": 9,
    "conv_norm_type": "batch_norm",
    "conv_context_size": None,
}


@dataclass(frozen=True)
class Sizes:
    """Layers and dimensions of the two models."""

    parakeet_layers: int
    parakeet_width: int
    parakeet_hidden: int
    sortformer_layers: int
    sortformer_width: int
    transformer_layers: int
    transformer_width: int


PUBLISHED = Sizes(24, 1024, 640, 17, 512, 18, 192)
"""617 M parameters, like parakeet-tdt-0.6b; 118 M, like diar_streaming_sortformer_4spk-v2."""
TINY = Sizes(1, 64, 64, 1, 64, 1, 32)


def parakeet(device: str, sizes: Sizes = PUBLISHED) -> Any:
    """Says three words a second, as people do."""
    import torch
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        config = OmegaConf.create(_parakeet_config(_tokenizer(Path(folder)), sizes))
        model = nemo_runtime.nemo_models().EncDecRNNTBPEModel(cfg=config, trainer=None)
    with torch.no_grad():
        model.joint.joint_net[-1].bias[-1] += 100  # every token lasts four frames: the decoder's usual number of steps
    return nemo_runtime.prepared(model, device)


def sortformer(device: str, sizes: Sizes = PUBLISHED) -> Any:
    import torch
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    model = nemo_runtime.nemo_models().SortformerEncLabelModel(
        cfg=OmegaConf.create(_sortformer_config(sizes)), trainer=None
    )
    return nemo_runtime.prepared(model, device)


def _parakeet_config(tokenizer: Path, sizes: Sizes) -> dict[str, Any]:
    hidden, width = sizes.parakeet_hidden, sizes.parakeet_width
    no_data = {"manifest_filepath": None, "sample_rate": 16_000, "batch_size": 1, "shuffle": False}
    return {
        "sample_rate": 16_000,
        "compute_eval_loss": False,
        "model_defaults": {
            "enc_hidden": width,
            "pred_hidden": hidden,
            "joint_hidden": hidden,
            "tdt_durations": DURATIONS,
            "num_tdt_durations": len(DURATIONS),
        },
        "train_ds": no_data,
        "validation_ds": {**no_data, "use_start_end_token": False},
        "test_ds": no_data,
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "preprocessor": {**_MELS, "normalize": "per_feature"},
        "encoder": {**_FASTCONFORMER, "n_layers": sizes.parakeet_layers, "d_model": width},
        "decoder": {
            "_target_": "nemo.collections.asr.modules.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": hidden, "pred_rnn_layers": 2, "t_max": None, "dropout": 0.0},
        },
        "joint": {
            "_target_": "nemo.collections.asr.modules.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "fused_batch_size": -1,
            "jointnet": {"joint_hidden": hidden, "activation": "relu", "dropout": 0.0},
            "num_extra_outputs": len(DURATIONS),
        },
        "decoding": {
            "strategy": "greedy_batch",
            "model_type": "tdt",
            "durations": DURATIONS,
            "greedy": {"max_symbols": 10},
            "beam": {"beam_size": 2, "return_best_hypothesis": True},
        },
        "loss": {"loss_name": "tdt", "tdt_kwargs": {"durations": DURATIONS, "sigma": 0.02, "omega": 0.1}},
    }


def _sortformer_config(sizes: Sizes) -> dict[str, Any]:
    width, inner = sizes.sortformer_width, sizes.transformer_width
    return {
        "sample_rate": 16_000,
        "max_num_of_spks": 4,
        "streaming_mode": True,
        "async_streaming": False,
        "model_defaults": {"fc_d_model": width, "tf_d_model": inner},
        "train_ds": None,
        "validation_ds": None,
        "test_ds": None,
        "preprocessor": {**_MELS, "normalize": "NA"},
        "encoder": {**_FASTCONFORMER, "n_layers": sizes.sortformer_layers, "d_model": width},
        "sortformer_modules": {
            "_target_": "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
            "num_spks": 4,
            "dropout_rate": 0.0,
            "fc_d_model": width,
            "tf_d_model": inner,
            "subsampling_factor": 8,
            "spkcache_len": 188,
            "fifo_len": 124,
            "chunk_len": 124,
            "spkcache_update_period": 124,
            "chunk_left_context": 1,
            "chunk_right_context": 1,
        },
        "transformer_encoder": {
            "_target_": "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": sizes.transformer_layers,
            "hidden_size": inner,
            "inner_size": 4 * inner,
            "num_attention_heads": 8,
            "attn_score_dropout": 0.0,
            "attn_layer_dropout": 0.0,
            "ffn_dropout": 0.0,
            "hidden_act": "relu",
            "pre_ln": False,
            "pre_ln_final_layer_norm": True,
        },
        "loss": {"_target_": "nemo.collections.asr.losses.bce_loss.BCELoss", "weight": None, "reduction": "mean"},
    }


def _tokenizer(folder: Path) -> Path:
    """A sentencepiece vocabulary of the published size, over words that mean nothing."""
    import sentencepiece

    letters = random.Random(0)
    words = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=letters.randint(2, 9))) for _ in range(4000)]
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(words),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=VOCABULARY,
        model_type="bpe",
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    vocabulary = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    pieces = [vocabulary.id_to_piece(i) for i in range(1, vocabulary.get_piece_size())]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    return folder
