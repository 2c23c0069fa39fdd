"""The second peer: Hugging Face Optimum's `ORTModelForSeq2SeqLM`, what users of ONNX run today.

A Marian model of the shipped sizes with random weights. It cannot be told where to end, so each batch is made
to take as many steps as its longest source has tokens: what outputs of real lengths would cost it, since
`generate` goes on until the last row of a batch has ended.

Runs under an interpreter of its own (benchmarks/requirements-optimum.txt): it needs older releases of what the
project uses.

    python benchmarks/engine_peers/optimum_marian.py FOLDER    write FOLDER/fp32 and FOLDER/int8
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[2]))

from keras_transformer.text.tokenizer import Tokenizer

TOKENIZER = (
    Path(__file__).absolute().parents[2] / "keras_transformer" / "pretrained" / "en-it" / "tokenizer.json"
)


def build(folder: Path) -> None:
    """Write the model in both precisions, int8 by Optimum's own dynamic quantisation."""
    import torch
    from optimum.onnxruntime import ORTModelForSeq2SeqLM, ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig
    from transformers import MarianConfig, MarianMTModel

    torch.manual_seed(1)
    config = MarianConfig(
        vocab_size=8000,
        d_model=256,
        encoder_layers=6,
        decoder_layers=2,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        encoder_ffn_dim=1024,
        decoder_ffn_dim=1024,
        activation_function="relu",
        max_position_embeddings=256,
        scale_embedding=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        forced_eos_token_id=None,
        decoder_start_token_id=1,
    )
    with tempfile.TemporaryDirectory() as scratch:
        MarianMTModel(config).save_pretrained(scratch)
        ORTModelForSeq2SeqLM.from_pretrained(scratch, export=True).save_pretrained(folder / "fp32")
    settings = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
    for graph in sorted((folder / "fp32").glob("*.onnx")):
        quantizer = ORTQuantizer.from_pretrained(folder / "fp32", file_name=graph.name)
        quantizer.quantize(save_dir=folder / "int8", quantization_config=settings, file_suffix="")


class OptimumMarian:
    """Drives one precision of the model."""

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        import onnxruntime
        from optimum.onnxruntime import ORTModelForSeq2SeqLM

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._model = ORTModelForSeq2SeqLM.from_pretrained(
            folder / precision, session_options=options, use_io_binding=False
        )

    def first(self, sentence: str) -> str:
        """As `engines.PeerEngine`."""
        tokenizer = Tokenizer.from_file(TOKENIZER)
        return tokenizer.decode(self.translate([[*tokenizer.encode(sentence), 2]], 1, 0)[0])

    def translate(
        self, rows: Sequence[Sequence[int]], beam_size: int, max_batch_tokens: int
    ) -> list[list[int]]:
        """As `engines.PeerEngine`, always one batch."""
        return self._generate(rows, beam_size)

    def choices(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> list[list[int]]:
        """Never asked: the weights are others."""
        raise NotImplementedError

    def _generate(self, rows: Sequence[Sequence[int]], beam_size: int) -> list[list[int]]:
        import torch

        longest = max(map(len, rows))
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        found = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            num_beams=beam_size,
            do_sample=False,
            min_new_tokens=longest,
            max_new_tokens=longest,
        )
        return [[token for token in row if token > 3] for row in found[:, 1:].tolist()]


if __name__ == "__main__":
    build(Path(sys.argv[1]))
