"""The names in a bundle: of its files, and of its graphs' tensors. The only place that spells them.

manifest.json            what this is, and the sha256 of every other file that is loaded
tokenizer.json
encoder.<precision>.onnx, decoder.<precision>.onnx
shortlist.npz            which target tokens a source token asks for, where there is one
README.md                the model card, for people
"""

FORMAT_VERSION = 2
PRECISIONS = ("fp32", "fp16", "int8")

MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"
SHORTLIST_FILE = "shortlist.npz"

# Encoder: inputs, then outputs.
SOURCE_IDS = "source_ids"  # int64 (B, S), right padded
SOURCE_LENGTHS = "source_lengths"  # int32 (B), each at least 1
# (2·layers, B, H, S, K): keys and values of layer 0, of layer 1, …; each is an input of the decoder below
CROSS_KEYS_VALUES = "cross_keys_values"
# Decoder: inputs, then outputs. The caches are bound in place: present and past are one buffer.
# R = B·beam_size rows; row r belongs to sentence r // beam_size.
TOKEN_IDS = "token_ids"  # int64 (R, T)
POSITION_IDS = "position_ids"  # int64 (R, T)
LAST_POSITIONS = "last_positions"  # int32 (R), position of the newest token
TOTAL_LENGTH = "total_length"  # int32 (1), the greatest last position + 1; stays in CPU memory
SOURCE_PADDING_MASK = "source_padding_mask"  # int32 (B, S), 1 = may attend
CROSS_SHAPE = "cross_shape"  # int64 (3): B, beam_size·T, H·K, the beams of a sentence as one query
ROW_SHAPE = "row_shape"  # int64 (3): R, T, H·K
LOGITS = "logits"  # float32 (R, T, V)
HIDDEN = "hidden"  # float32 (R, T, D), what the projection reads
PROJECTED_ROWS = "projected_rows"  # int64 (1): the projection reads this many of the R rows; not in float16
LIKELIEST = "likeliest"  # int64 (R, T), in float16: the token with the greatest logit
LARGEST = "largest"  # float32 (R, T), in float16: that logit
# In float32 the decoder ends with logits, or with an estimate of them in integers (runtime/screen.py, ranking.py).
WHOLE_LOGITS = "whole_logits"  # bool (), an input: which of the two; the other's outputs are empty
SCREENED_LOGITS = "screened_logits"  # float32 (R, T, V), the estimate in a unit of its row
SCREEN_UNITS = "screen_units"  # float32 (R, T, 1), this unit: the largest |hidden| of the row
ROUNDED_HIDDEN = "rounded_hidden"  # uint8 (R, T, D), hidden in steps of 1/127 of the unit, zero at 128
TABLE = "embedding/table"  # float32 or int8 (V, D), a weight of both graphs
# Beside an int8 table: a logit is the integer product, zero point taken off, times the input's and the token's scale.
TABLE_SCALES = "projection/scales"  # float32 (V)
INPUT_SCALE = "projection/input_scale"  # float32 ()
INPUT_ZERO_POINT = "projection/input_zero_point"  # uint8 ()
SCREEN_NORMS = "projection/screen_norms"  # float32 (2, V), |rounded row| and |row - rounded row| of the table
ALIGNMENT_QUERY = (
    "alignment_query"  # (R, T, H·K), the cross-attention query of the manifest's alignment_layer
)


def encoder_file(precision: str) -> str:
    """File name of the encoder graph."""
    return f"encoder.{precision}.onnx"


def decoder_file(precision: str) -> str:
    """File name of the decoder graph."""
    return f"decoder.{precision}.onnx"


def cross_key(layer: int) -> str:
    """Keys (B, H, S, K) of a decoder layer's cross-attention, a decoder input."""
    return f"cross_key_{layer}"


def cross_value(layer: int) -> str:
    """Values (B, H, S, K) of a decoder layer's cross-attention, a decoder input."""
    return f"cross_value_{layer}"


def past_key(layer: int) -> str:
    """Self-attention keys (R, H, L, K) before the call, L the cache's length."""
    return f"past_key_{layer}"


def past_value(layer: int) -> str:
    """Self-attention values (R, H, L, K) before the call."""
    return f"past_value_{layer}"


def present_key(layer: int) -> str:
    """The same keys after the call, in the same buffer."""
    return f"present_key_{layer}"


def present_value(layer: int) -> str:
    """The same values after the call, in the same buffer."""
    return f"present_value_{layer}"


def cross_names(num_layers: int) -> list[str]:
    """Cross keys and values of all layers, in the order in which the encoder gives them."""
    return [name(layer) for layer in range(num_layers) for name in (cross_key, cross_value)]


def past_names(num_layers: int) -> list[str]:
    """The caches of all layers as inputs: keys and values of layer 0, of layer 1, …"""
    return [name(layer) for layer in range(num_layers) for name in (past_key, past_value)]


def present_names(num_layers: int) -> list[str]:
    """The same caches as outputs."""
    return [name(layer) for layer in range(num_layers) for name in (present_key, present_value)]
