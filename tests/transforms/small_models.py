"""What the small language models of the tests know."""

import dataclasses

import numpy as np

BUCKETS = 7
WORDS = (
    *("hola", "mundo", "Celular", "celular", "a", "b", "Ñandú", "¿que", "que", "手机壳", "苹果", "32", "fp", "📱📱"),
    *("e\u0301", "un\ttab", "con\xa0nada", "nul\0o", "doceletrasss", "treceletrasss", "x" * 70, "y" * 300),
    *("don't", "dont", "\ufeff"),
)


@dataclasses.dataclass(frozen=True)
class Small:
    """An exported model: its folder, how it splits, and its table."""

    folder: str
    normalization: bool
    keep_empty: bool
    vectors: np.ndarray
