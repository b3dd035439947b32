"""Turn titles into numbers: the same tokens as an NNLM model makes of them, as NumPy arrays."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.training.nnlm_export import PUNCTUATION
from molino.training.reader import Reader, Reading
from molino.training.runs import open_run
from molino.training.source import TITLES

ROWS = 65_536  # titles that are tokenised at once
PIECE = 4  # letters
LONGEST = 64  # letters of a word that are cut into pieces
# titles, as many categories, null where unknown, and whether they are kept from training, to measure by
TitleBatch = tuple[pa.Array, pa.Array, bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """Tokenised titles."""

    words: pa.StringArray  # distinct tokens
    titles: pa.LargeListArray  # the places in `words` of each title's tokens, lists of int32; a title has at least one
    labels: np.ndarray  # int32 places in `categories`, -1 where the category is unknown
    categories: pa.StringArray  # names, sorted
    validation: np.ndarray  # whether a title is kept from training

    def __len__(self) -> int:
        return len(self.titles)

    def choose(self, chosen: np.ndarray) -> "Corpus":
        """Return some of the titles, (n,) bool, with all words and categories."""
        titles = self.titles.filter(pa.array(chosen))
        return dataclasses.replace(self, titles=titles, labels=self.labels[chosen], validation=self.validation[chosen])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Texts:
    """Titles as rows of a table of vectors."""

    rows: pa.LargeListArray  # the rows of each title's tokens, lists of int32; there may be several lists for a title
    labels: np.ndarray  # int32 class of each title; anything where there are none

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of some lists, one after another, and for each the place of its list among them, int32."""
        taken = self.rows.take(pa.array(lists))
        return taken.flatten().to_numpy(), pc.list_parent_indices(taken).to_numpy().astype(np.int32)


def read_splits(folder: str, split: str, measure: str) -> Iterator[TitleBatch]:
    """Yield the titles of two splits of a finished run of the titles job: to train on, then to measure by."""
    dataset = open_run(folder, {"titles": TITLES}).datasets["titles"]
    for name, kept in ((split, False), (measure, True)):
        reader = Reader(dataset, ["title", "category"], split=name, shuffle=False, batch=ROWS, reading=Reading(ahead=1))
        yield from ((batch["title"], batch["category"], kept) for batch in reader.epoch())


def split_off(titles: pa.Array, categories: pa.Array, *, share: float, seed: int) -> Iterator[TitleBatch]:
    """Yield titles to train on, then to measure by: what hardly differs (case, punctuation, spaces) is on one side."""
    import tensorflow as tf

    bare = pc.replace_substring_regex(pc.utf8_lower(titles), r"[\pP\pZ\s]+", "")
    keyed = pc.binary_join_element_wise(pa.scalar(str(seed)), bare, ":")
    places = tf.strings.to_hash_bucket_fast(keyed.to_numpy(zero_copy_only=False), 1 << 32).numpy()
    kept = pa.array(places < share * (1 << 32))
    for side, mask in ((False, pc.invert(kept)), (True, kept)):
        yield titles.filter(mask), categories.filter(mask), side


def split_tokens(titles: pa.Array, *, normalization: bool) -> tuple[pa.Array, np.ndarray]:
    """Return the tokens of all titles, and how many each has: at least 1, the empty one, as in the exported model."""
    texts = pc.replace_substring_regex(titles, PUNCTUATION, "") if normalization else titles
    split = pc.split_pattern(texts, " ")
    tokens = split.flatten()
    full = pc.not_equal(tokens, "").to_numpy(zero_copy_only=False)
    before = np.concatenate([[0], np.cumsum(full)])
    offsets = split.offsets.to_numpy()
    counts = np.diff(before[offsets - offsets[0]])
    if not counts.all():
        # one of a title's empty tokens stays
        first = offsets[:-1][counts == 0] - offsets[0]
        full[first], counts = True, np.maximum(counts, 1)
    return tokens.filter(pa.array(full)), counts


def tokenize(batches: Iterable[TitleBatch], *, normalization: bool) -> Corpus:
    """Return the tokenised titles of all batches. Memory: twice four bytes a token for a moment, then once."""
    nothing = pa.array([], pa.string()).dictionary_encode()
    tokens, labels, counts, validation = [nothing], [nothing], [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    for titles, categories, kept in batches:
        if len(titles):
            found, count = split_tokens(titles, normalization=normalization)
            tokens.append(found.dictionary_encode())
            counts.append(count)
            labels.append(categories.dictionary_encode())
            validation.append(np.full(len(count), kept))
    words, places = _unify(tokens)
    names, numbers = _unify(labels)
    order = pc.array_sort_indices(names).to_numpy()
    # one more for the unknown, whose place is -1
    rank = np.full(len(names) + 1, -1, np.int32)
    rank[order] = np.arange(len(names))
    return Corpus(
        words=words,
        titles=lists_of(places, np.concatenate(counts)),
        labels=rank[numbers],
        categories=names.take(pa.array(order)),
        validation=np.concatenate(validation),
    )


def lists_of(values: np.ndarray, counts: np.ndarray) -> pa.LargeListArray:
    """Return lists of so many values each, of values that stand one after another."""
    return pa.LargeListArray.from_arrays(np.concatenate([[0], np.cumsum(counts)]), values)


def _unify(chunks: list[pa.DictionaryArray]) -> tuple[pa.StringArray, np.ndarray]:
    """Return the distinct values of all chunks, and the int32 place of each value among them, -1 for null."""
    one = pa.chunked_array(chunks).unify_dictionaries()
    places = np.empty(len(one), np.int32)
    at = 0
    for chunk in one.chunks:
        places[at : at + len(chunk)] = pc.fill_null(chunk.indices, -1)
        at += len(chunk)
    return one.chunk(0).dictionary, places


def count_tokens(corpus: Corpus) -> np.ndarray:
    """Return how often each word stands in the titles for training, int64."""
    places, times = pc.value_counts(corpus.choose(~corpus.validation).titles.flatten()).flatten()
    counts = np.zeros(len(corpus.words), np.int64)
    counts[places] = times
    return counts


def choose_vocabulary(corpus: Corpus, counts: np.ndarray, *, size: int, least: int) -> np.ndarray:
    """Return the places of the words that get a row, the commonest first: `least` times seen, and without line ends."""
    lines = pc.match_substring_regex(corpus.words, r"^[^\r\n]+\z").to_numpy(zero_copy_only=False)
    able = np.flatnonzero((counts >= least) & lines)
    table = pa.table({"count": pa.array(-counts[able]), "word": corpus.words.take(pa.array(able))})
    order = pc.sort_indices(table, sort_keys=[("count", "ascending"), ("word", "ascending")]).to_numpy()
    return able[order[:size]]


def number_words(corpus: Corpus, vocabulary: np.ndarray, *, buckets: int) -> np.ndarray:
    """Return each word's row, int32: its place in the vocabulary, or its bucket's in a StaticVocabularyTable."""
    import tensorflow as tf

    rows = np.full(len(corpus.words), -1, np.int32)
    rows[vocabulary] = np.arange(len(vocabulary))
    others = np.flatnonzero(rows < 0)
    words = corpus.words.take(pa.array(others)).to_numpy(zero_copy_only=False)
    if len(others):
        rows[others] = len(vocabulary) + tf.strings.to_hash_bucket_fast(words, buckets).numpy()
    return rows


def number_titles(corpus: Corpus, rows: np.ndarray) -> Texts:
    """Return the titles of a corpus, given the row of each word."""
    places = corpus.titles.flatten().to_numpy()
    return Texts(rows=lists_of(rows[places], pc.list_value_length(corpus.titles).to_numpy()), labels=corpus.labels)


def find_pieces(words: pa.Array) -> tuple[np.ndarray, np.ndarray, int]:
    """Return for each word the int32 places of its pieces, one after another, the int64 ends, and how many pieces are.

    Pieces let a rare word learn from those it resembles. They are taken from the word in lower case and without
    accents: the whole of it, its first four letters, and every four neighbouring letters, ends marked. A piece of a
    single word teaches nothing and is left out, so a word may have none.
    """
    plain = pc.replace_substring_regex(pc.utf8_normalize(pc.utf8_lower(words), form="NFD"), r"\p{Mn}", "")
    marked = pc.binary_join_element_wise("<", plain, ">", "")
    lengths = pc.utf8_length(marked).to_numpy()
    owners = np.arange(len(words), dtype=np.int64)
    made = [pc.binary_join_element_wise("=", plain, "")]
    made.append(pc.binary_join_element_wise("^", pc.utf8_slice_codeunits(plain, 0, PIECE), ""))
    of = [owners, owners]
    for start in range(min(int(lengths.max(initial=0)), LONGEST) - PIECE + 1):
        long = np.flatnonzero(lengths >= start + PIECE)
        made.append(pc.utf8_slice_codeunits(marked.take(pa.array(long)), start, start + PIECE))
        of.append(long)
    found = pa.chunked_array(made).combine_chunks().dictionary_encode()
    # each piece of a word once, in the order of words
    count = len(found.dictionary)
    keys = np.unique(np.concatenate(of) * max(count, 1) + found.indices.to_numpy())
    owner, piece = keys // max(count, 1), keys % max(count, 1)
    shared = np.bincount(piece, minlength=count) > 1
    rank = np.cumsum(shared) - 1
    keep = shared[piece]
    ends = np.cumsum(np.bincount(owner[keep], minlength=len(words)))
    return rank[piece[keep]].astype(np.int32), ends, int(shared.sum())
