"""GPT-2's published byte-level BPE, from local files or, once, from the hub."""

import json
from pathlib import Path

import tokenizers

from gpt_pipeline.errors import TokenizerError
from gpt_pipeline.tokenizer.byte_alphabet import byte_to_char
from gpt_pipeline.tokenizer.hub import without_retries
from gpt_pipeline.tokenizer.tokenizer import END_OF_TEXT, Tokenizer, read_inner
from gpt_pipeline.tokenizer.train import byte_level

HUB_ID = "openai-community/gpt2"
_OFFLINE = "tokenizer.path=FOLDER with vocab.json and merges.txt works offline"


def gpt2(path: str | None) -> Tokenizer:
    """GPT-2's tokenizer; the ids equal tiktoken's `encode_ordinary` on any text.

    Args:
        path: a folder with vocab.json and merges.txt (or tokenizer.json), or a tokenizer.json;
            None fetches it from the hub, whose client keeps a copy for the next time.

    Raises:
        TokenizerError: when the files or the hub cannot be read; one line that says what to do.
    """
    if path is None:
        return _rebuilt(_from_hub(), HUB_ID)
    place = Path(path)
    if not place.is_dir():
        return _rebuilt(read_inner(place), str(place))
    if (place / "vocab.json").exists() or not (place / "tokenizer.json").exists():
        return _from_vocab_and_merges(place)
    return _rebuilt(read_inner(place / "tokenizer.json"), str(place / "tokenizer.json"))


def _from_hub() -> tokenizers.Tokenizer:
    try:
        with without_retries():
            return tokenizers.Tokenizer.from_pretrained(HUB_ID)
    except Exception as error:  # the client raises a dozen unrelated classes
        raise TokenizerError(
            f"cannot fetch GPT-2's tokenizer ({HUB_ID}) from the Hugging Face hub "
            f"({type(error).__name__}); {_OFFLINE}"
        ) from error


def _from_vocab_and_merges(folder: Path) -> Tokenizer:
    vocab_file, merges_file = folder / "vocab.json", folder / "merges.txt"
    for file in (vocab_file, merges_file):
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise TokenizerError(
                f"tokenizer.path must hold vocab.json and merges.txt; {file} is no file"
            )
    try:
        vocab = json.loads(vocab_file.read_text(encoding="utf-8"))
        lines = merges_file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise TokenizerError(
            f"tokenizer.path must hold vocab.json and merges.txt; {error.filename} does not exist"
        ) from error
    except (OSError, ValueError) as error:
        raise TokenizerError(f"cannot read the tokenizer files in {folder}: {error}") from error
    if lines and lines[0].startswith("#version"):
        lines = lines[1:]
    merges = [_pair(line, str(merges_file)) for line in lines if line]
    return _built(vocab, merges, str(folder))


def _rebuilt(inner: tokenizers.Tokenizer, where: str) -> Tokenizer:
    """The same vocabulary as from vocab.json and merges.txt, so that all ways give one SHA-256."""
    content = json.loads(inner.to_str())
    model = content["model"]
    pre_tokenizer = content["pre_tokenizer"] or {}
    if model["type"] != "BPE" or pre_tokenizer.get("type") != "ByteLevel":
        raise TokenizerError(
            f"tokenizer.path must name a tokenizer of GPT-2's kind (byte-level BPE); got {where} "
            f"with {model['type']} after {pre_tokenizer.get('type')}"
        )
    vocab = dict(model["vocab"])
    vocab.update({token["content"]: token["id"] for token in content["added_tokens"]})
    merges = [_pair(merge, where) for merge in model["merges"]]
    return _built(vocab, merges, where)


def _pair(merge: object, where: str) -> tuple[str, str]:
    """A merge as a pair: tokenizer.json holds pairs, in older ones and in merges.txt one string."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2:
        raise TokenizerError(f"a merge in {where} must be two parts; got {merge!r}")
    return parts[0], parts[1]


def _built(vocab: object, merges: list[tuple[str, str]], where: str) -> Tokenizer:
    if not isinstance(vocab, dict) or END_OF_TEXT not in vocab:
        raise TokenizerError(f"{where} must have an entry {END_OF_TEXT}; got none")
    missing = [byte for byte, char in byte_to_char().items() if char not in vocab]
    if missing:
        raise TokenizerError(
            f"{where} must have an entry for each of the 256 bytes; got none for {missing[0]:#04x}"
        )
    _check_whole(vocab, merges, where)
    try:
        return byte_level(vocab, merges)
    except Exception as error:  # the library raises the bare class
        raise TokenizerError(
            f"vocabulary and merges in {where} do not fit together: {str(error).splitlines()[0]}"
        ) from error


def _check_whole(vocab: dict[str, object], merges: list[tuple[str, str]], where: str) -> None:
    """Refuse ids with gaps, and a vocabulary most of which no merge leads to: half a copy."""
    ids = {token_id for token_id in vocab.values() if isinstance(token_id, int)}
    if len(ids) < len(vocab) or ids != set(range(len(vocab))):
        raise TokenizerError(
            f"the ids in {where} must be 0 to {len(vocab) - 1:,}, each once, for "
            f"{len(vocab):,} entries; they are not: the vocabulary is incomplete or damaged"
        )
    made = {END_OF_TEXT, *(left + right for left, right in merges)}
    others = [token for token in vocab if len(token) > 1 and token not in made]
    wanted = len(vocab) - 257
    if len(others) > max(wanted // 50, 16):  # GPT-J has 143 more entries that stand alone
        raise TokenizerError(
            f"{where} has merges for {wanted - len(others):,} of {wanted:,} entries "
            f"(none for {others[0]!r}): the merges are incomplete, or of another vocabulary"
        )
