"""A short model card from the manifest, for runs that bring none of their own."""

from typing import Any

from keras_transformer.runtime.bundle import Manifest


def model_card(manifest: Manifest) -> str:
    """Markdown with the hub's front matter; facts of the manifest and nothing else."""
    lines = [
        "---",
        f"language:\n- {manifest.source_language}\n- {manifest.target_language}",
        "pipeline_tag: translation",
        "library_name: onnxruntime",
        "---",
        "",
        f"# {manifest.name}",
        "",
        f"Translates {manifest.source_language} to {manifest.target_language}.",
        "A Transformer (Vaswani et al. 2017):",
        f"{manifest.num_encoder_layers} + {manifest.num_decoder_layers} layers,",
        f"width {manifest.model_dim}, {manifest.num_heads} heads, vocabulary {manifest.vocabulary_size},",
        f"{manifest.num_parameters:,} weights, at most {manifest.max_length} tokens a sentence.",
        "",
        "    python -m keras_transformer.translate --model FOLDER",
        "",
        "## Files",
        "",
    ]
    for precision, record in manifest.precisions.items():
        size = (record.encoder.bytes + record.decoder.bytes) / 1e6
        gate = record.gate
        lines.append(
            f"- {precision}: {size:.1f} MB; mean divergence from the trained model "
            f"{gate.get('mean_divergence', 'not measured')} nats a token, same choice at "
            f"{_percent(gate.get('same_choices'))} of {gate.get('positions', 0)} positions"
        )
    for title, facts in (("Training", manifest.training), ("Scores", manifest.scores)):
        lines += ["", f"## {title}", "", *(_facts(facts) or ["Not stated."])]
    lines += ["", "## Licences", "", *([f"- {item}" for item in manifest.licences] or ["Not stated."])]
    return "\n".join(lines) + "\n"


def _percent(share: Any) -> str:
    return f"{100 * share:.1f} %" if isinstance(share, int | float) else "an unknown share"


def _facts(facts: Any, prefix: str = "") -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += _facts(value, f"{prefix}{name}.")
        else:
            lines.append(f"- {prefix}{name}: {value}")
    return lines
