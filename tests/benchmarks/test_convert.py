"""The same weights in CTranslate2 say what the float64 oracle says."""

import pytest

ctranslate2 = pytest.importorskip("ctranslate2", reason="pip install -r benchmarks/requirements.txt")

from benchmarks.engine_peers.convert import save_ctranslate2, tokens_of  # noqa: E402 - after the skip
from tests.onnx_export import runs  # noqa: E402
from tests.reference import transformer as oracle  # noqa: E402


@pytest.mark.parametrize(
    ("norm_placement", "activation"), [("post", "relu"), ("pre", "relu"), ("pre", "gelu")]
)
def test_greedy_output_is_the_oracles(tmp_path, norm_placement, activation):
    config = runs.config(norm_placement=norm_placement, activation=activation)
    weights = runs.weights_of(config)
    source_ids = runs.rows_of(config, [7, 2, 5, 3], last=config.eos_id)  # EOS alone is "empty" to it
    expected = oracle.greedy(weights, config, source_ids, 12)
    save_ctranslate2(config, weights, tmp_path / "model", "fp32")
    translator = ctranslate2.Translator(str(tmp_path / "model"), compute_type="float32")
    names = tokens_of(config)
    rows = [[names[index] for index in row if index != config.pad_id] for row in source_ids]
    results = translator.translate_batch(rows, beam_size=1, max_decoding_length=12, return_end_token=True)
    for result, ids in zip(results, expected, strict=True):
        assert result.hypotheses[0] == [names[index] for index in ids if index != config.pad_id]
    assert len({tuple(result.hypotheses[0]) for result in results}) > 1  # the source matters


def test_int8_is_ctranslate2s_own(tmp_path):
    config = runs.config()
    weights = runs.weights_of(config)
    sizes = {}
    for precision in ("fp32", "int8"):
        save_ctranslate2(config, weights, tmp_path / precision, precision)
        sizes[precision] = (tmp_path / precision / "model.bin").stat().st_size
    assert sizes["int8"] < 0.5 * sizes["fp32"]
    assert ctranslate2.Translator(str(tmp_path / "int8")).compute_type.startswith("int8")
