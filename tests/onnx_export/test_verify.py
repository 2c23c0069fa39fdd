"""The gate lets a faithful export through and names what differs in any other."""

import re

import numpy as np
import pytest

from keras_transformer.onnx_export import export
from keras_transformer.onnx_export.calibration import calibrate
from keras_transformer.onnx_export.checkpoint import load_checkpoint
from keras_transformer.onnx_export.export import export_bundle
from keras_transformer.onnx_export.quantization import ActivationScale
from keras_transformer.onnx_export.verify import GateFailure
from tests.onnx_export import runs


def export_with(tmp_path, arrays=None, weights=None, precisions=("fp32",)):
    run = runs.write_run(tmp_path / "run", weights=weights, arrays=arrays)
    checkpoint = load_checkpoint(run / "checkpoints" / "best")
    return export_bundle(checkpoint, tmp_path / "bundle", precisions)


def changed_arrays(name, change, weights=None):
    config = runs.config()
    arrays = runs.reference_arrays(config, weights or runs.weights_of(config))
    arrays[name] = change(arrays[name].copy())
    return arrays


def assert_refused(tmp_path, message, **arguments):
    with pytest.raises(GateFailure, match=rf"\A{message}\Z"):
        export_with(tmp_path, **arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_faithful_export_passes_in_every_precision(tmp_path):
    bundle = export_with(tmp_path, precisions=("fp32", "fp16", "int8"))
    gates = {name: record.gate for name, record in bundle.manifest.precisions.items()}
    assert list(gates) == ["fp32", "fp16", "int8"]
    assert gates["fp32"]["greedy_rows_equal"] == gates["fp32"]["greedy_rows"] == 7
    assert gates["fp32"]["logit_error"] < gates["fp16"]["logit_error"] < gates["int8"]["logit_error"]
    assert gates["fp32"]["longest_source"] == runs.MAX_LENGTH
    assert gates["fp32"]["ties"] == 0


def test_one_wrong_logit_is_found(tmp_path):
    def change(logits):
        logits[2, 0, 17] += 0.5
        return logits

    assert_refused(
        tmp_path,
        r"fp32: logits of reference_0 differ most at row 2, position 0, token 17: \S+ for \S+, 0\.0\d+ of "
        r"the largest logit; at most 1e-05 is allowed",
        arrays=changed_arrays("reference_0/logits", change),
    )


def test_what_stands_at_padding_is_not_compared(tmp_path):
    def change(logits):
        logits[2, 1:] = 99.0  # the third target of the batch has one token
        return logits

    export_with(tmp_path, arrays=changed_arrays("reference_0/logits", change))


def test_a_wrong_token_is_found(tmp_path):
    config = runs.config()
    greedy = runs.reference_arrays(config, runs.weights_of(config))["greedy_0/output_ids"]
    wrong = 4 + int(greedy[1, 2]) % 100

    def change(output_ids):
        output_ids[1, 2] = wrong
        return output_ids

    assert_refused(
        tmp_path,
        rf"fp32: greedy output of greedy_0, row 1 in its batch differs from the Keras model at token 2: "
        rf"{greedy[1, 2]} for {wrong}; equal tokens are required",
        arrays=changed_arrays("greedy_0/output_ids", change),
    )


def test_two_equally_likely_tokens_may_be_swapped(tmp_path):
    config = runs.config()
    weights = runs.weights_of(config)
    first = int(runs.reference_arrays(config, weights)["greedy_1/output_ids"][0, 0])
    twin = next(
        i for i in range(4, 99) if i not in runs.reference_arrays(config, weights)["greedy_1/source_ids"]
    )
    weights["embedding/table"][twin] = weights["embedding/table"][first]

    def change(output_ids):
        assert output_ids[0, 0] in (first, twin)
        output_ids[0, 0] = first + twin - output_ids[0, 0]
        return output_ids

    bundle = export_with(
        tmp_path, weights=weights, arrays=changed_arrays("greedy_1/output_ids", change, weights)
    )
    assert bundle.manifest.precisions["fp32"].gate["ties"] >= 1


def test_a_broken_int8_is_refused(tmp_path, monkeypatch):
    def coarse(*arguments):
        found, name = calibrate(*arguments), "projection"
        scale, zero_point = found.inputs[name]
        coarse = {**found.inputs, name: ActivationScale(np.float32(scale * 9), zero_point)}
        return found._replace(inputs=coarse)

    monkeypatch.setattr(export, "calibrate", coarse)
    assert_refused(
        tmp_path,
        r"int8: the mean divergence \(nats a token\) from the Keras model is \S+ over 47 positions; "
        r"at most 0\.05 is allowed",
        precisions=("fp32", "int8"),
    )


def test_logits_that_are_not_numbers_are_refused(tmp_path):
    def change(logits):
        logits[0, 1, 3] = np.nan
        return logits

    with pytest.raises(
        GateFailure, match=r"fp32: logits of reference_1 differ most at row 0, position 1, token 3"
    ):
        export_with(tmp_path, arrays=changed_arrays("reference_1/logits", change))


def test_references_of_another_shape_are_refused(tmp_path):
    assert_refused(
        tmp_path,
        re.escape("fp32: logits of reference_1 must have shape (1, 7, 417), they have (1, 7, 418)"),
        arrays=changed_arrays("reference_1/logits", lambda logits: logits[:, :, 1:].copy()),
    )


def test_references_without_an_empty_source_prove_too_little(tmp_path):
    def change(source_ids):
        source_ids[1, :2] = (9, 2)
        return source_ids

    assert_refused(
        tmp_path,
        "the reference outputs hold no empty source; write the checkpoint again",
        arrays=changed_arrays("reference_0/source_ids", change),
    )


def test_references_without_a_batch_of_one_prove_too_little(tmp_path):
    config = runs.config()
    arrays = runs.reference_arrays(config, runs.weights_of(config))
    arrays = {name: array for name, array in arrays.items() if not name.startswith("reference_1/")}
    assert_refused(
        tmp_path, "the reference outputs hold no batch of one; write the checkpoint again", arrays=arrays
    )


def test_int8_whose_batch_mates_matter_is_refused(tmp_path, monkeypatch):
    """One scale for the whole batch, measured as it runs, is what the gate must not let through."""
    from keras_transformer.onnx_export import quantization

    def dynamic(self, graph, x, name, weight, weight_scales, bias):
        scales = graph.constant(f"{name}/scales", weight_scales)
        inputs = [x, weight, scales, "", *([] if bias is None else [graph.constant(f"{name}/bias", bias)])]
        return graph.node("DynamicQuantizeMatMul", inputs, domain="com.microsoft")

    monkeypatch.setattr(quantization.Int8Maps, "_product", dynamic)
    monkeypatch.setattr(
        quantization.Int8Maps, "activate", lambda self, graph, x, activation: graph.node("Relu", [x])
    )
    config = runs.config()
    weights = runs.weights_of(config)
    arrays = runs.reference_arrays(config, weights)
    lengths = [1 + 7 * i % runs.MAX_LENGTH for i in range(24)]
    arrays["greedy_2/source_ids"] = runs.rows_of(config, lengths, 40, last=config.eos_id)
    arrays["greedy_2/output_ids"] = np.full((24, 18), config.eos_id, np.int32)  # int8 is not held against it
    arrays["greedy_2/max_length"] = np.array(18, np.int32)
    with pytest.raises(
        GateFailure, match=r"int8: greedy output of .* differs from the row alone at token \d+"
    ):
        export_with(tmp_path, weights=weights, arrays=arrays, precisions=("int8",))
